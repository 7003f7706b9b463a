"""Is there room for one more generation, and who has to go where there is none?

A generation needs a slot of each listener to start in, and at most `max_draining` may drain: the
one that it replaces is one of them. A reload may be told to hurry the oldest. It does so as late as
it can: a bad release shall cost nobody a connection.
"""

from collections.abc import Iterator

from wssupervisor.fleet import draining, steering
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.model import GenerationState, Policy, SlotId, WhenFull, WorkerState
from wssupervisor.fleet.state import Generation, Reload, State


def hurries(reload: Reload, policy: Policy) -> bool:
    return reload.make_room or policy.when_full is WhenFull.HURRY_OLDEST


def no_slot(state: State, slots: dict[str, list[SlotId]]) -> str | None:
    """Why a generation cannot start: a listener none of whose slots is free."""
    found = draining.oldest(state)
    if state.active is not None and draining.drains(state.active):
        found.append(state.active)  # workers that were scaled away hold slots, too
    for name, free in slots.items():
        if not free:
            which, _ = _which(found)
            holders = f": held by {which}" if which else ""
            return f"no slot of listener {name!r} is free{holders}; {_way_out(found)}"
    return None


def too_many(state: State, reload: Reload, policy: Policy) -> str | None:
    """Why the active generation cannot become one more that drains."""
    found = draining.oldest(state)
    if len(found) < policy.max_draining:
        return None
    paused = [one for one in found if draining.paused(one)]
    if hurries(reload, policy):
        if len(paused) < policy.max_draining:
            return None
        which, _ = _which(paused)
        return (
            f"no room for one more draining generation: {which} cannot be hurried, being paused;"
            f" `wssctl drain {paused[0].number} --resume` lets the oldest drain on"
        )
    which, end = _which(found)
    return (
        f"no room for one more draining generation: {which} still drain{end} and [drain]"
        f" max_draining is {policy.max_draining}; {_way_out(found)}"
    )


def comes(state: State, now: float) -> bool:
    """Slots will be free soon: workers are ending, or have ended and left slots to be looked at."""
    return (
        any(one.state is WorkerState.STOPPING for one in state.workers())
        or bool(steering.unheld_slots(state))
        or any(draining.hurried(one, now) for one in draining.oldest(state))
    )


def hurry_oldest(state: State, now: float) -> Iterator[Action]:
    """One more, unless an operator paused it."""
    for one in draining.oldest(state):
        if not draining.hurried(one, now) and not draining.paused(one):
            yield from draining.hurry(state, one, now)
            return


def make_room_to_drain(state: State, policy: Policy, now: float) -> Iterator[Action]:
    """Right before a cutover: so many may drain beside the one that will be replaced."""
    undisturbed = [one for one in draining.oldest(state) if not draining.hurried(one, now)]
    for _ in range(len(undisturbed) - policy.max_draining + 1):
        yield from hurry_oldest(state, now)


def _which(found: list[Generation]) -> tuple[str, str]:
    numbers = ", ".join(str(one.number) for one in found)
    if not found:
        return "", ""
    return (f"generation {numbers}", "s") if len(found) == 1 else (f"generations {numbers}", "")


def _way_out(found: list[Generation]) -> str:
    if not found:
        return "give the socket unit more ListenStream= lines, or scale down"
    first = found[0]
    if first.state is GenerationState.ACTIVE:
        return f"`wssctl drain {first.number} --within 0s` ends those of its workers that drain"
    return (
        f"`wssctl drain {first.number} --within 0s` ends the oldest, with its connections, and"
        " so does `wssctl reload --make-room`"
    )
