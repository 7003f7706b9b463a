"""Rollback: a cutover to the generation that was active before, at once if it is still warm.

Warm means that each of its seats has a draining worker that was ready and can serve again.
Otherwise missing workers are started from its pinned release and judged like those of a reload. If
nothing of it is left, a new generation of the same release is started.
"""

from collections.abc import Iterator

from wssupervisor.fleet import capacity, draining, releasing, reloading, seating, steering
from wssupervisor.fleet.actions import Action, Answer, Begun, Failed
from wssupervisor.fleet.events import RollBackRequested
from wssupervisor.fleet.model import GenerationState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import Generation, Reload, ReloadKind, ReloadPhase, State


def request(state: State, asked: RollBackRequested, now: float) -> Iterator[Action]:
    """Begin a rollback, unless a reload (or a stop) is under way."""
    request_id = asked.request
    busy = reloading.why_busy(state)
    if busy is not None:
        yield Note(NoteKind.RELOAD_REFUSED, {"attempt": ReloadKind.ROLLBACK.value, "reason": busy})
        yield Answer(request_id, Failed("busy", busy))
        return
    if not state.lineage:
        text = (
            "there is no generation to roll back to: none was active before this one, except"
            " generations that were rolled back from"
        )
        yield Answer(request_id, Failed("operation-failed", text))
        return
    pinned = state.lineage[-1]
    state.last_reload += 1
    number = state.last_reload
    state.reload = Reload(
        number,
        ReloadKind.ROLLBACK,
        request_id,
        now,
        now + asked.timeout,
        ReloadPhase.STARTING,
        by=asked.by,
    )
    begun = {"reload": reloading.name(number), "to": pinned.number, **asked.by.fields()}
    yield Note(NoteKind.ROLLBACK_BEGUN, begun)
    yield Begun(request_id, number)
    cannot = releasing.why_not(state, pinned.policy)
    if cannot is not None:
        yield from reloading.fail(state, cannot, now)
        return
    target = state.generations.get(pinned.number)
    if target is not None and target.state is GenerationState.DRAINING:
        yield from _wake(state, state.reload, target, now)
    else:
        yield from reloading.wait_for_room(state, pinned, now)


def _wake(state: State, reload: Reload, target: Generation, now: float) -> Iterator[Action]:
    """Keep the workers of the generation that can serve, and start missing ones."""
    missing = [
        seat
        for seat in target.seats
        if not (steering.serves(target, seat) and steering.alone_in(state, seat))
    ]
    slots = {
        name: steering.free_slots(state, listener) for name, listener in state.listeners.items()
    }
    lacking = capacity.no_slot(state, slots) if missing else None
    if lacking is not None:
        yield from reloading.fail(state, lacking, now)
        return
    reload.generation = target.number
    target.state = GenerationState.STARTING
    draining.hold_for_rollback(target)
    for at, seat in enumerate(missing):
        own = {name: free[at % len(free)] for name, free in slots.items()}
        yield from seating.refill(target, seat, own, now)
