"""The rest of a worker whose main process has ended, judged by what it does.

Children that accept connections keep serving them (gunicorn's, when its arbiter is killed). Helpers
that only inherited descriptors serve none: they are ended, and the clients are freed to reconnect.
"""

from collections.abc import Iterator

from wssupervisor.fleet import causes, lifecycle, reloading, seating
from wssupervisor.fleet.actions import Action, JudgeLeftover
from wssupervisor.fleet.events import MainProcessEnded
from wssupervisor.fleet.model import Policy, WorkerId, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import FreeClients, Signal
from wssupervisor.fleet.state import Drain, Leftover, State, Worker


def main_ended(state: State, event: MainProcessEnded, now: float) -> Iterator[Action]:
    """Steer away from it and replace it at once, whatever is left of it."""
    worker = state.worker(event.worker)
    if worker is None or worker.leftover is not None:
        return
    stopping = worker.state is WorkerState.STOPPING
    worker.leftover = Leftover(event.exit, stopping, worker.connections)
    lifecycle.library_disconnected(worker)
    worker.unresponsive_since = worker.stalled_since = worker.gave_way_at = worker.held_up_at = None
    if stopping:
        yield from _signal_rest(worker, state.policy)
        return
    yield lifecycle.note(
        NoteKind.MAIN_PROCESS_ENDED, worker, reason=str(event.exit), connections=worker.connections
    )
    if reloading.judging(state, worker.id):
        text = causes.why_failed(worker, str(event.exit), event.advice, now)
        yield from reloading.fail(state, text, now, of=worker.id)
        return
    starting = worker.state is WorkerState.STARTING
    yield from seating.unseat(state, worker, now)
    if worker.sweeper:
        seating.sweeper_ended(state.generations[worker.id.generation], now, died=True)
    if starting:
        yield from _end(worker, state.policy, "it was not ready yet", now)
        return
    _let_drain(worker, state.policy, now)
    yield from judge(worker)


def _signal_rest(worker: Worker, policy: Policy) -> Iterator[Action]:
    """The main process ended as asked: its other processes get the rest of the time."""
    waits, worker.rest_at = worker.rest_at is not None, None
    if waits:
        yield Signal(worker.id, policy.stop_signal)


def _let_drain(worker: Worker, policy: Policy, now: float) -> None:
    """Keep its connections and send it no new ones. Only main processes get the drain signal."""
    if worker.state is WorkerState.READY:
        worker.state = WorkerState.DRAINING
    if worker.drain is None:
        limit = policy.drain_timeout
        worker.drain = Drain(now, now, None if limit == float("inf") else now + limit)


def judge(worker: Worker) -> Iterator[Action]:
    """Find out whether the rest of the worker serves, if that is unknown."""
    leftover = worker.leftover
    if leftover is None or leftover.serves is not None or worker.state is WorkerState.STOPPING:
        return
    signalled = worker.drain is not None and worker.drain.signalled
    yield JudgeLeftover(worker.id, dict(worker.slots), signalled)


def judged(state: State, worker_id: WorkerId, now: float, *, serves: bool) -> Iterator[Action]:
    """If the rest serves, it drains like any worker. If not, it is ended, and its clients freed."""
    worker = state.worker(worker_id)
    if worker is None or worker.leftover is None or worker.leftover.serves is not None:
        return
    if worker.state is WorkerState.STOPPING:
        return
    worker.leftover.serves = serves
    if serves:
        yield lifecycle.note(NoteKind.LEFTOVER_SERVES, worker, connections=worker.connections)
    else:
        yield from _end(worker, state.policy, "no process of it accepts connections", now)


def _end(worker: Worker, policy: Policy, reason: str, now: float) -> Iterator[Action]:
    assert worker.leftover is not None
    connections = worker.leftover.connections
    yield lifecycle.note(NoteKind.LEFTOVER_ENDED, worker, reason=reason, connections=connections)
    yield from lifecycle.stop(worker, policy, now)
    if worker.pid is not None:
        yield FreeClients(worker.id)
