"""Stopping: new connections are parked, each worker ends within the limit, then the fleet quits."""

from collections.abc import Iterator
from dataclasses import replace

from wssupervisor.fleet import draining, leaving, lifecycle, reloading
from wssupervisor.fleet.actions import Action, Answer, Failed, Quit, Stopped
from wssupervisor.fleet.model import GenerationState, RequestId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import ReloadPhase, State, Stop


def request(
    state: State, request_id: RequestId | None, within: float | None, now: float
) -> Iterator[Action]:
    """Begin to stop, or shorten a stop. `within` in seconds; None: the policy's."""
    if state.stop is not None:
        if within is not None:
            state.stop.deadline = min(state.stop.deadline, now + within)
        if request_id is not None:
            yield Answer(request_id, Failed("busy", "the instance is already stopping"))
        return
    if state.reload is not None and state.reload.phase is not ReloadPhase.CUTTING:
        yield from reloading.fail(state, "the instance is stopping", now, quitting=True)
    limit = state.policy.stop_timeout if within is None else within
    state.stop = Stop(request_id, deadline=now + limit)
    yield Note(NoteKind.STOP_BEGUN, {"within": limit})
    yield from leaving.give_up(state, "the instance is stopping")


def settle(state: State, stop: Stop, now: float) -> Iterator[Action]:
    """End every worker, then quit. A failed steering does not prevent that."""
    if state.steering.in_flight is not None and now < stop.deadline:
        return
    for worker in list(state.workers()):
        yield from lifecycle.end_with_instance(worker, state.policy, stop.deadline, now)
        if now >= stop.deadline and worker.kill_at is not None:
            yield from lifecycle.kill(worker)
    if any(True for _ in state.workers()):
        return
    cut_short = [
        draining.over(generation, now) for generation in state.in_state(GenerationState.DRAINING)
    ]
    state.generations.clear()
    state.quit = True
    if stop.request is not None:
        yield Answer(stop.request, Stopped())
    for note in cut_short:
        yield replace(note, fields={**note.fields, "stopped": True})
    yield Note(NoteKind.STOPPED, {"status": stop.status})
    yield Quit(stop.status, stop.reason, stop.of)


def deadlines(state: State, stop: Stop) -> Iterator[float]:
    """Return the instants at which a stop continues by itself."""
    steers = state.steering.in_flight is not None
    for worker in state.workers():
        if worker.state is not WorkerState.STOPPING:
            if steers:
                yield stop.deadline
            elif worker.closing_by is not None:
                yield worker.closing_by
        elif worker.pid is not None and worker.kill_at is not None:
            yield stop.deadline
