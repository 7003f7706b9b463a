"""A worker that fails: it ends, is not ready in time, stops accepting or sends no heartbeat.

A candidate's worker fails its reload. Any other worker loses its seat to a replacement.
"""

from collections.abc import Iterable, Iterator

from wssupervisor.fleet import causes, draining, lifecycle, reloading, seating
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.events import CensusTaken
from wssupervisor.fleet.model import Exit, WorkerId, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.state import ReloadPhase, State, Worker


def exited(
    state: State, worker_id: WorkerId, ended: Exit | str, now: float, advice: str | None = None
) -> Iterator[Action]:
    """No process of the worker is left; `ended` is a string if it was never started."""
    worker = state.worker(worker_id)
    if worker is None:
        return
    how = str(ended)
    if worker.drain is None and worker.reason is not None:
        how = f"{worker.reason}, and {how}"
    reported = how if advice is None else f"{how}: {advice}"
    judged = reloading.judging(state, worker_id)
    yield lifecycle.note(
        NoteKind.WORKER_EXITED,
        worker,
        reason=reported,
        connections=causes.at_stake(worker),
        expected=causes.expected(worker),
        cause=causes.cause(worker, ended),
        forced=worker.forced or None,
    )
    draining.worker_exited(state.generations[worker_id.generation], worker)
    yield from seating.remove(state, worker, reported, now)
    if judged:
        reason = causes.why_failed(worker, how, advice, now)
        yield from reloading.fail(state, reason, now, of=worker_id)


def not_ready(state: State, worker: Worker | None, reason: str, now: float) -> Iterable[Action]:
    """The worker did not become ready: fail the reload of a candidate, or replace the worker."""
    if worker is None or worker.state is not WorkerState.STARTING:
        return []
    worker.reason = reason
    if reloading.judging(state, worker.id):
        text = f"worker {worker.id.index} of generation {worker.id.generation} {reason}"
        return reloading.fail(state, text, now, of=worker.id)
    return lifecycle.stop(worker, state.policy, now)


def stalled(state: State, worker: Worker, reason: str, now: float) -> Iterator[Action]:
    """The worker does not accept: fail the reload of a candidate, or replace the worker."""
    if worker.state not in (WorkerState.READY, WorkerState.DRAINING):
        return
    if reloading.judging(state, worker.id):
        text = f"worker {worker.id.index} of generation {worker.id.generation}: {reason}"
        yield from reloading.fail(state, text, now, of=worker.id)
        return
    yield from lifecycle.mark_stalled(worker, state.policy, reason, now)
    yield from seating.unseat(state, worker, now)


def slot_released(state: State, worker: Worker, now: float) -> Iterable[Action]:
    """The worker reports that it stops serving, or was asked to for a reload.

    In the second case a census decides whether it obeyed: its own report is no proof.
    """
    reload = state.reload
    asked = reload is not None and reload.phase is ReloadPhase.RELEASING_SOCKETS
    if asked and worker.releasing is not None:
        return []
    return stalled(state, worker, "it closed its listening socket", now)


def replace_unresponsive(state: State, worker: Worker, now: float) -> Iterator[Action]:
    """The worker has been unresponsive for too long: another takes its seat, and it is killed."""
    seconds = round(now - (worker.alive_at or now), 1)
    reason = f"it has sent no heartbeat for {seconds:g} s"
    yield from stalled(state, worker, reason, now)
    yield from lifecycle.stop(worker, state.policy, now)


def look_for_slots(
    state: State, worker: Worker, event: CensusTaken, now: float
) -> Iterator[Action]:
    """Two censuses in a row find a ready worker without its slots: it stopped accepting."""
    before = worker.lacks_slots
    holds = event.listening.get(worker.id)
    ready = worker.state is WorkerState.READY
    worker.lacks_slots = ready and holds is not None and not set(worker.slots.values()) <= holds
    if before and worker.lacks_slots:
        yield from slot_released(state, worker, now)
