"""Is there room for one more generation, and who has to go where there is none?

A generation needs a slot of each listener to start in, and at most `max_draining` may drain: the
one that it replaces is one of them. Those that are proven empty and only kept warm do not count:
they are ended before a reload is refused. Beyond that a reload may be told to cut a drain short. It
takes the generation with the fewest connections, and does so as late as it can: a bad release shall
cost no connection.
"""

from collections.abc import Iterator

from wssupervisor.fleet import draining, steering
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.model import GenerationState, Policy, SlotId, WhenFull, WorkerState
from wssupervisor.fleet.state import Generation, Reload, State


def hurries(reload: Reload, policy: Policy) -> bool:
    return reload.make_room or policy.when_full is WhenFull.END_OLDEST


def no_slot(state: State, slots: dict[str, list[SlotId]]) -> str | None:
    """Why a generation cannot start: a listener none of whose slots is free."""
    name = next((name for name, free in slots.items() if not free), None)
    if name is None:
        return None
    if (too_many_seats := _too_many_seats(state, name)) is not None:
        return too_many_seats
    deaf = [slot for slot in state.listeners[name].slots if not steering.hears(state, slot)]
    if deaf and steering.unheld_slots(state).issuperset(deaf):
        return _deaf(name, len(deaf))
    found = draining.emptiest(state)
    if state.active is not None and draining.drains(state.active):
        found.append(state.active)  # workers that were scaled away hold slots, too
    which, _ = _which(found)
    holders = f": held by {which}" if which else ""
    return f"no slot of listener {name!r} is free{holders}; {_way_out(found)}"


def _deaf(name: str, slots: int) -> str:
    which = "1 slot" if slots == 1 else f"{slots} slots"
    return (
        f"no slot of listener {name!r} can be used: on {which} a worker locked a packet filter"
        " (SO_LOCK_FILTER), which cannot be removed; restart the instance, with its socket unit if"
        " it has one"
    )


def _too_many_seats(state: State, name: str) -> str | None:
    """The workers of the active generation alone take all slots: no drain that ends helps."""
    active = state.active
    if active is None:
        return None
    seated = {seat.slots[name] for seat in active.seats}
    slots = len(state.listeners[name].slots)
    if len(seated) < slots - 1:
        return None
    workers = len(active.seats)
    written = state.policy.workers
    text = (
        f"no slot of listener {name!r} is free: generation {active.number} has {workers} workers,"
        f" and of the {slots} slots they use all but the one that is kept for parking"
    )
    more = f"give the listener more slots (at least {workers + 2}: one ListenStream= line each)"
    if workers > written and written < slots - 1:
        return f"{text}; `wssctl scale {written}` undoes the scaling, or {more}"
    fewer = max(1, (slots - 1) // 2)
    return f"{text}; `wssctl scale {fewer}` and a lower [app] workers leave room, or {more}"


def too_many(state: State, reload: Reload, policy: Policy) -> str | None:
    """Why the active generation cannot become one more that drains."""
    found = [one for one in draining.emptiest(state) if not _gives_way(one)]
    if len(found) < policy.max_draining:
        return None
    paused = [one for one in found if draining.paused(one)]
    if hurries(reload, policy):
        if len(paused) < policy.max_draining:
            return None
        which, _ = _which(paused)
        return (
            f"no room for one more draining generation: {which} cannot be hurried, being paused;"
            f" `wssctl drain {paused[0].number} --resume` resumes the drain of the emptiest"
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
        or any(steering.hears(state, slot) for slot in steering.unheld_slots(state))
        or any(draining.hurried(one, now) for one in draining.oldest(state))
    )


def end_emptiest(state: State, now: float, *, cuts: bool) -> Iterator[Action]:
    """One more, unless an operator paused it; one with connections only where a reload `cuts`."""
    for one in draining.emptiest(state):
        if draining.hurried(one, now) or draining.paused(one):
            continue
        if draining.empty(one):
            yield from draining.keep_no_warmer(state, one, now)
        elif cuts:
            yield from draining.hurry(state, one, now)
        return


def make_room_to_drain(
    state: State, reload: Reload, policy: Policy, now: float
) -> Iterator[Action]:
    """Right after a cutover: so many may drain beside the one that is replaced.

    Whoever is asked to close comes back at once, and must find the new generation.
    """
    undisturbed = [one for one in draining.oldest(state) if not draining.hurried(one, now)]
    for _ in range(len(undisturbed) - policy.max_draining + 1):
        yield from end_emptiest(state, now, cuts=hurries(reload, policy))


def _gives_way(generation: Generation) -> bool:
    """Ending it costs nothing but the warmth of a rollback."""
    return draining.empty(generation) and not draining.paused(generation)


def _which(found: list[Generation]) -> tuple[str, str]:
    numbers = ", ".join(str(one) for one in sorted(one.number for one in found))
    if not found:
        return "", ""
    return (f"generation {numbers}", "s") if len(found) == 1 else (f"generations {numbers}", "")


def _way_out(found: list[Generation]) -> str:
    """`found`: the emptiest first."""
    if not found:
        return "give the socket unit more ListenStream= lines, or scale down"
    first = found[0]
    if first.state is GenerationState.ACTIVE:
        return f"`wssctl drain {first.number} --within 0s` ends those of its workers that drain"
    count = draining.connections(first)
    which = "it" if len(found) == 1 else "the emptiest"
    closing = (
        f"closing {count} connection{'' if count == 1 else 's'}" if count else "which is empty"
    )
    return (
        f"`wssctl drain {first.number} --within 0s` ends {which}, {closing}, and so does"
        " `wssctl reload --make-room`"
    )
