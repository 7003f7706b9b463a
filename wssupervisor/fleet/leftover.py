"""What is left of a worker whose main process has ended: judged by what it does, not by its name.

Children that accept connections keep serving them (gunicorn's, when its arbiter is killed). Helpers
that only inherited descriptors serve none: they are ended, and the clients are freed to reconnect.
"""

from collections.abc import Iterator

from wssupervisor.fleet import lifecycle, reloading, seating
from wssupervisor.fleet.actions import Action, JudgeLeftover
from wssupervisor.fleet.events import MainProcessEnded
from wssupervisor.fleet.model import Policy, WorkerId, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import FreeClients, Signal
from wssupervisor.fleet.state import Drain, Leftover, State, Worker


def main_ended(state: State, event: MainProcessEnded, now: float) -> Iterator[Action]:
    """Known at once: it is steered away from and replaced, whatever is left of it."""
    one = state.worker(event.worker)
    if one is None or one.leftover is not None:
        return
    told = one.state is WorkerState.STOPPING
    one.leftover = Leftover(event.exit, told, one.connections)
    lifecycle.parted(one)
    one.unresponsive_since = one.stalled_since = one.gave_way_at = one.held_up_at = None
    if told:
        yield from _tell_rest(one, state.policy)
        return
    yield lifecycle.note(
        NoteKind.MAIN_PROCESS_ENDED, one, reason=str(event.exit), connections=one.connections
    )
    if reloading.judging(state, one.id):
        text = lifecycle.why_failed(one, str(event.exit), event.advice, now)
        yield from reloading.fail(state, text, now, of=one.id)
        return
    starting = one.state is WorkerState.STARTING
    yield from seating.vacate(state, one, now)
    if one.sweeper:
        seating.sweeper_ended(state.generations[one.id.generation], now, died=True)
    if starting:
        yield from _end(one, state.policy, "it was not ready yet", now)
        return
    _let_drain(one, state.policy, now)
    yield from judge(one)


def _tell_rest(one: Worker, policy: Policy) -> Iterator[Action]:
    """Its main process ended when it was told to: the others have what is left of the time."""
    waits, one.rest_at = one.rest_at is not None, None
    if waits:
        yield Signal(one.id, policy.stop_signal)


def _let_drain(one: Worker, policy: Policy, now: float) -> None:
    """It keeps what it has and gets nothing new. No drain signal: that was for the main process."""
    if one.state is WorkerState.READY:
        one.state = WorkerState.DRAINING
    if one.drain is None:
        limit = policy.drain_timeout
        one.drain = Drain(now, now, None if limit == float("inf") else now + limit)


def judge(one: Worker) -> Iterator[Action]:
    """Have it found out whether what is left of the worker serves, where that is not known."""
    leftover = one.leftover
    if leftover is None or leftover.serves is not None or one.state is WorkerState.STOPPING:
        return
    told = one.drain is not None and one.drain.signalled
    yield JudgeLeftover(one.id, dict(one.slots), told)


def judged(state: State, worker_id: WorkerId, now: float, *, serves: bool) -> Iterator[Action]:
    """What serves drains like any other worker; what does not is ended, and its clients freed."""
    one = state.worker(worker_id)
    if one is None or one.leftover is None or one.leftover.serves is not None:
        return
    if one.state is WorkerState.STOPPING:
        return
    one.leftover.serves = serves
    if serves:
        yield lifecycle.note(NoteKind.LEFTOVER_SERVES, one, connections=one.connections)
    else:
        yield from _end(one, state.policy, "no process of it accepts connections", now)


def _end(one: Worker, policy: Policy, reason: str, now: float) -> Iterator[Action]:
    assert one.leftover is not None
    connections = one.leftover.connections
    yield lifecycle.note(NoteKind.LEFTOVER_ENDED, one, reason=reason, connections=connections)
    yield from lifecycle.stop(one, policy, now)
    if one.pid is not None:
        yield FreeClients(one.id)
