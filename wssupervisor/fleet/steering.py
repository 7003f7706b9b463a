"""Which slot does what: the table of new connections, free slots, slots nobody serves.

Pure functions of the state; nothing here changes it.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from wssupervisor.fleet.lifecycle import can_serve_again
from wssupervisor.fleet.model import GenerationState, Listener, SlotId, Table, WorkerState
from wssupervisor.fleet.state import Generation, ReloadPhase, Seat, State, Worker

ACCEPTING = frozenset({WorkerState.STARTING, WorkerState.READY, WorkerState.DRAINING})
"""States in which a worker may still empty its slot's queue."""


def parked(state: State) -> Table:
    """Everything to the parking slots: nobody serves."""
    return Table(
        {
            name: {one.slots[-1] if one.shared is None else one.shared: 1}
            for name, one in state.listeners.items()
        }
    )


def wanted_table(state: State) -> Table:
    """Where new connections should go now."""
    if state.stop is not None:
        return parked(state)
    if state.reload is not None and state.reload.phase is ReloadPhase.CUTTING:
        serving = state.candidate
    else:
        serving = state.active
    if serving is None:
        return parked(state)
    by_client = serving.policy.by_client
    places = {sticky: _places(serving, sticky=sticky) for sticky in (False, True)}
    return Table(
        {
            name: _weights(name, places[name in by_client])
            if one.shared is None
            else {one.shared: 1}
            for name, one in state.listeners.items()
        },
        by_client,
    )


def _places(generation: Generation, *, sticky: bool) -> list[Mapping[str, SlotId]]:
    """Slots of the seats that serve, or else of the best there is.

    Those are workers that pause: they will accept what waits. Next come those that have not
    accepted for long, and in the end all seats: their queues wait for the replacements. `sticky`:
    a client's other connections are where it was steered before, so that it waits for a pause.
    """
    ready: list[Mapping[str, SlotId]] = []
    pausing: list[Mapping[str, SlotId]] = []
    stalled: list[Mapping[str, SlotId]] = []
    for seat in generation.seats:
        holder = seat.stands_in_for or seat.worker
        if serves(generation, seat) or (sticky and _pauses(generation, seat)):
            ready.append(seat.slots)
        elif holder is not None and generation.workers[holder].state is WorkerState.READY:
            few = pausing if _pauses(generation, seat) else stalled
            few.append(generation.workers[holder].slots)
    return ready or pausing or stalled or [seat.slots for seat in generation.seats]


def _pauses(generation: Generation, seat: Seat) -> bool:
    """Its worker does not accept now, and will in all likelihood do so in a moment."""
    one = None if seat.worker is None else generation.workers[seat.worker]
    return (
        one is not None
        and one.state is WorkerState.READY
        and one.stalled_since is not None
        and one.unresponsive_since is None
        and seat.stands_in_for is None
        and seat.not_replaced != one.id
    )


def pauses(generation: Generation) -> bool:
    """A client that connects now will in all likelihood be accepted in a moment."""
    return any(_pauses(generation, seat) for seat in generation.seats)


def serves(generation: Generation, seat: Seat) -> bool:
    """Its worker could serve what is steered to it now."""
    return seat.worker is not None and could_serve(generation.workers[seat.worker])


def could_serve(one: Worker) -> bool:
    """It is ready, neither mute nor stalled; or, where it drains, could be so again."""
    if one.unresponsive_since is not None or one.stalled_since is not None:
        return False
    return one.state is WorkerState.READY or can_serve_again(one)


def outsiders(state: State) -> set[SlotId]:
    """Slots of those who drain without a seat and accept still; the shared ones left out."""
    seated = {seat.worker for generation in state.generations.values() for seat in generation.seats}
    return {
        slot
        for one in state.workers()
        if one.id not in seated and one.state is WorkerState.DRAINING
        for slot in one.slots.values()
        if not state.shared(slot)
    }


def alone_in(state: State, seat: Seat) -> bool:
    """Nobody who is not to serve there accepts from one of the seat's slots."""
    return outsiders(state).isdisjoint(seat.slots.values())


def _weights(listener: str, places: Iterable[Mapping[str, SlotId]]) -> dict[SlotId, int]:
    weights: dict[SlotId, int] = {}
    for place in places:
        slot = place[listener]
        weights[slot] = weights.get(slot, 0) + 1
    return weights


def with_parking(state: State, slots: tuple[SlotId, ...]) -> tuple[SlotId, ...]:
    """Slots in index order, and last the one to park in: the highest that no worker holds."""
    held = held_slots(state)
    parking = next((slot for slot in reversed(slots) if slot not in held), slots[-1])
    return (*(slot for slot in slots if slot != parking), parking)


def may_steer(state: State, now: float) -> bool:
    """One table at a time: a failed one must not land after its undoing."""
    own = state.steering
    return own.in_flight is None and (own.retry_at is None or now >= own.retry_at)


def settled(state: State, slot: SlotId) -> bool:
    """No handshake that began while the slot was named is still under way."""
    return state.slots[slot].left_epoch <= state.steering.handshakes_over


def held_slots(state: State) -> set[SlotId]:
    """Slots that a process holds or that a seat keeps for its next worker."""
    held = {slot for worker in state.workers() for slot in worker.slots.values()}
    for generation in state.generations.values():
        if generation.state in (GenerationState.STARTING, GenerationState.ACTIVE):
            held |= {slot for seat in generation.seats for slot in seat.slots.values()}
    return held


def _named(state: State, slot: SlotId) -> bool:
    tables = (state.steering.current, state.steering.in_flight)
    return any(table is not None and table.names(slot) for table in tables)


def unheld_slots(state: State) -> set[SlotId]:
    """Slots that no process holds but us and that nothing is steered to, parking slots left out."""
    ordinary = {slot for one in state.listeners.values() for slot in one.slots[:-1]}
    return {
        slot
        for slot in ordinary - held_slots(state)
        if not _named(state, slot) and not state.slots[slot].occupied
    }


def _seen_empty(state: State, slot: SlotId) -> bool:
    watch = state.slots[slot]
    return watch.seen_at is not None and watch.queued == 0


def free_slots(state: State, listener: Listener) -> list[SlotId]:
    """Slots that a candidate may have: held by nobody but us, empty, and nothing on its way."""
    if listener.shared is not None:
        return [listener.shared]
    unheld = unheld_slots(state)
    return [
        slot
        for slot in listener.slots
        if slot in unheld
        and _seen_empty(state, slot)
        and settled(state, slot)
        and hears(state, slot)
    ]


def hears(state: State, slot: SlotId) -> bool:
    """Clients reach it: no worker locked a packet filter on it."""
    return not state.slots[slot].deaf


def idle_slots(state: State, listener: Listener) -> list[SlotId]:
    """Slots for a worker that shall get nothing from this listener: free ones, or else such that
    nothing is steered to or will be, though somebody who drains may hold them, parking last.
    """
    kept = {
        slot
        for generation in state.generations.values()
        if generation.state in (GenerationState.STARTING, GenerationState.ACTIVE)
        for seat in generation.seats
        for slot in seat.slots.values()
    }
    idle = [slot for slot in listener.slots if slot not in kept and not _named(state, slot)]
    return free_slots(state, listener) + idle


def starting_slots(state: State, listener: Listener) -> list[SlotId]:
    """Slots for the first generation: those with clients in their queue first."""
    if listener.shared is not None:
        return [listener.shared]
    held = held_slots(state)
    free = [slot for slot in listener.slots[:-1] if slot not in held and hears(state, slot)]
    return sorted(free, key=lambda slot: state.slots[slot].queued == 0)


def accepting_slots(state: State) -> set[SlotId]:
    """Slots with a worker that may still empty their queue."""
    return {
        slot
        for worker in state.workers()
        if worker.state in ACCEPTING
        for slot in worker.slots.values()
    }


def orphans(state: State) -> list[tuple[str, SlotId]]:
    """(listener, slot) of each queue that nobody empties and that no seat's next worker will.

    A slot has one sweeper at the most: where that does not accept another one would not, either.
    """
    cared_for = {
        slot
        for worker in state.workers()
        if worker.state in ACCEPTING
        or (worker.state is WorkerState.STOPPING and worker.leftover is None)
        for slot in worker.slots.values()
    }
    cared_for |= {
        worker.sweeps
        for worker in state.workers()
        if worker.sweeps is not None and worker.leftover is None
    }
    for generation in state.in_state(GenerationState.ACTIVE):
        cared_for |= {
            slot for seat in generation.seats if seat.worker is None for slot in seat.slots.values()
        }
    return [
        (listener.name, slot)
        for listener in state.listeners.values()
        for slot in listener.slots
        if slot not in cared_for and state.slots[slot].seen_at and state.slots[slot].queued
    ]


def nothing_comes(state: State, worker: Worker, slot: SlotId, holds: AbstractSet[SlotId]) -> bool:
    """No connection can become this worker's through this slot any more; `holds`: what it has.

    A silent worker does not accept: where others serve the same slot nobody can say more than that.
    """
    silent = worker.state is WorkerState.STALLED
    if state.shared(slot):
        return silent or slot not in holds
    if _named(state, slot) and not (silent and _others_accept(state, worker, slot)):
        return False
    return state.slots[slot].queued == 0 and settled(state, slot)


def _others_accept(state: State, worker: Worker, slot: SlotId) -> bool:
    return any(
        slot in other.slots.values() and other.state in ACCEPTING
        for other in state.workers()
        if other is not worker
    )


def still_listens(state: State, worker: Worker, holds: AbstractSet[SlotId]) -> bool:
    """It shall get nothing new and has a slot that new connections go to."""
    return worker.state is WorkerState.DRAINING and any(
        slot in holds and (state.shared(slot) or _named(state, slot))
        for slot in worker.slots.values()
    )


def shares_slots(state: State, generation: Generation) -> bool:
    """Two workers of the generation have one slot: a single queue, lossless, less balanced."""
    for name, listener in state.listeners.items():
        if listener.shared is not None:
            continue
        slots = [seat.slots[name] for seat in generation.seats]
        if len(set(slots)) < len(slots):
            return True
    return False
