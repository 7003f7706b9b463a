"""Puts the wanted table of new connections in force, and acts when it is."""

from collections.abc import Iterable, Iterator

from wssupervisor.fleet import reloading, steering
from wssupervisor.fleet.actions import Action, Steer
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import ReloadKind, ReloadPhase, State

RETRY_SECONDS = 1.0
"""Seconds until a table that could not be put in force is tried again."""


def settle(state: State, now: float) -> Iterator[Action]:
    """Request the wanted table if it is not in force."""
    own = state.steering
    if not steering.may_steer(state, now):
        return
    table = steering.wanted_table(state)
    # If all listeners are shared, a cutover changes no table, but takes the same path.
    if table == own.current and not _cutting(state):
        own.retry_at = None
        return
    own.epoch += 1
    own.in_flight = table
    own.retry_at = None
    yield Steer(own.epoch, table, steering.pending_cutover(state))


def steered(state: State, epoch: int, now: float) -> Iterable[Action]:
    """The requested table is in force."""
    own = state.steering
    if epoch != own.epoch or own.in_flight is None:
        return []
    before, own.current, own.in_flight = own.current, own.in_flight, None
    for slot, watch in state.slots.items():
        named_before = before is None or before.names(slot)
        if named_before and not own.current.names(slot):
            watch.left_epoch = epoch
    return reloading.cut_over(state, now) if _cutting(state) else []


def failed(state: State, epoch: int, reason: str, now: float) -> Iterator[Action]:
    """The table was refused; the previous one stays in force. Fail a waiting start or cutover."""
    own = state.steering
    if epoch != own.epoch or own.in_flight is None:
        return
    own.in_flight = None
    own.retry_at = now + RETRY_SECONDS
    yield Note(NoteKind.STEERING_FAILED, {"reason": reason})
    starting = state.reload is not None and state.reload.kind is ReloadKind.START
    if starting or _cutting(state):
        text = f"new connections could not be steered: {reason}"
        yield from reloading.fail(state, text, now)


def deadlines(state: State) -> Iterator[float]:
    """Return the instants at which `settle` would act."""
    own = state.steering
    if own.retry_at is not None and own.in_flight is None:
        yield own.retry_at


def _cutting(state: State) -> bool:
    return state.reload is not None and state.reload.phase is ReloadPhase.CUTTING
