"""What each slot is for: the table of new connections, free slots, and slots without a worker.

Pure functions of the state, which they do not change.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from wssupervisor.fleet.actions import PendingCutover
from wssupervisor.fleet.lifecycle import can_serve_again
from wssupervisor.fleet.model import GenerationState, Listener, SlotId, Table, WorkerState
from wssupervisor.fleet.state import Generation, ReloadPhase, Seat, State, Worker

ACCEPTING = frozenset({WorkerState.STARTING, WorkerState.READY, WorkerState.DRAINING})
"""States in which a worker may still empty the queue of its slot."""


def parked(state: State) -> Table:
    """Return a table that sends everything to the parking slots, because no worker serves."""
    return Table(
        {
            name: {own.slots[-1] if own.shared is None else own.shared: 1}
            for name, own in state.listeners.items()
        }
    )


def wanted_table(state: State) -> Table:
    """Return the table of where new connections should go now."""
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
            if own.shared is None
            else {own.shared: 1}
            for name, own in state.listeners.items()
        },
        by_client,
    )


def _places(generation: Generation, *, sticky: bool) -> list[Mapping[str, SlotId]]:
    """Return the slots of the seats that serve, or else of the best alternative.

    The alternatives are workers that pause, because they will accept what waits; then workers that
    have not accepted for long; then all seats, whose queues wait for the replacements. `sticky`: a
    client waits for a pausing worker, because its other connections are there.
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
    """Whether its worker does not accept now, but will very likely do so in a moment."""
    worker = None if seat.worker is None else generation.workers[seat.worker]
    return (
        worker is not None
        and worker.state is WorkerState.READY
        and worker.stalled_since is not None
        and worker.unresponsive_since is None
        and seat.stands_in_for is None
        and seat.not_replaced != worker.id
    )


def pauses(generation: Generation) -> bool:
    """Whether a client that connects now will very likely be accepted in a moment."""
    return any(_pauses(generation, seat) for seat in generation.seats)


def serves(generation: Generation, seat: Seat) -> bool:
    """Whether its worker could serve connections that are steered to it now."""
    return seat.worker is not None and could_serve(generation.workers[seat.worker])


def could_serve(worker: Worker) -> bool:
    """Whether it is ready, responsive and not stalled, or draining and could be so again."""
    if worker.unresponsive_since is not None or worker.stalled_since is not None:
        return False
    return worker.state is WorkerState.READY or can_serve_again(worker)


def outsiders(state: State) -> set[SlotId]:
    """Return slots, except shared ones, of workers that drain without a seat and may accept."""
    seated = {seat.worker for generation in state.generations.values() for seat in generation.seats}
    return {
        slot
        for worker in state.workers()
        if worker.id not in seated and worker.state is WorkerState.DRAINING
        for slot in worker.slots.values()
        if not state.shared(slot)
    }


def alone_in(state: State, seat: Seat) -> bool:
    """Whether no worker without a seat accepts from a slot of this seat."""
    return outsiders(state).isdisjoint(seat.slots.values())


def _weights(listener: str, places: Iterable[Mapping[str, SlotId]]) -> dict[SlotId, int]:
    weights: dict[SlotId, int] = {}
    for place in places:
        slot = place[listener]
        weights[slot] = weights.get(slot, 0) + 1
    return weights


def with_parking(state: State, slots: tuple[SlotId, ...]) -> tuple[SlotId, ...]:
    """Return slots in index order, then the parking slot: the highest that no worker holds."""
    held = held_slots(state)
    parking = next((slot for slot in reversed(slots) if slot not in held), slots[-1])
    return (*(slot for slot in slots if slot != parking), parking)


def pending_cutover(state: State) -> PendingCutover | None:
    """What the wanted table completes, if a cutover waits for it."""
    reload, candidate = state.reload, state.candidate
    if reload is None or reload.phase is not ReloadPhase.CUTTING:
        return None
    assert candidate is not None
    workers = {worker.id: dict(worker.slots) for worker in candidate.workers.values()}
    return PendingCutover(reload.id, workers)


def may_steer(state: State, now: float) -> bool:
    """Whether to steer now: one table at a time, so that a failed one cannot land late."""
    own = state.steering
    return own.in_flight is None and (own.retry_at is None or now >= own.retry_at)


def settled(state: State, slot: SlotId) -> bool:
    """Whether no handshake from the time when the slot was in a table is under way."""
    return state.slots[slot].left_epoch <= state.steering.handshakes_over


def held_slots(state: State) -> set[SlotId]:
    """Return slots that a worker holds or that a seat keeps for its next worker."""
    held = {slot for worker in state.workers() for slot in worker.slots.values()}
    for generation in state.generations.values():
        if generation.state in (GenerationState.STARTING, GenerationState.ACTIVE):
            held |= {slot for seat in generation.seats for slot in seat.slots.values()}
    return held


def _named(state: State, slot: SlotId) -> bool:
    tables = (state.steering.current, state.steering.in_flight)
    return any(table is not None and table.names(slot) for table in tables)


def unheld_slots(state: State) -> set[SlotId]:
    """Return slots that only we hold and that no table names, without parking slots."""
    ordinary = {slot for listener in state.listeners.values() for slot in listener.slots[:-1]}
    return {
        slot
        for slot in ordinary - held_slots(state)
        if not _named(state, slot) and not state.slots[slot].occupied
    }


def _seen_empty(state: State, slot: SlotId) -> bool:
    watch = state.slots[slot]
    return watch.seen_at is not None and watch.queued == 0


def free_slots(state: State, listener: Listener) -> list[SlotId]:
    """Return slots for a candidate: held only by us, empty, and with no handshake on its way."""
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
    """Whether clients can reach it: no worker locked a packet filter on it."""
    return not state.slots[slot].deaf


def idle_slots(state: State, listener: Listener) -> list[SlotId]:
    """Return slots for a worker that must get no connections from this listener.

    Free slots come first, then slots to which nothing is or will be steered, although a draining
    worker may hold them; the parking slot is last.
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
    """Return slots for the first generation, those with waiting clients first."""
    if listener.shared is not None:
        return [listener.shared]
    held = held_slots(state)
    free = [slot for slot in listener.slots[:-1] if slot not in held and hears(state, slot)]
    return sorted(free, key=lambda slot: state.slots[slot].queued == 0)


def accepting_slots(state: State) -> set[SlotId]:
    """Return slots with a worker that may still empty their queue."""
    return {
        slot
        for worker in state.workers()
        if worker.state in ACCEPTING
        for slot in worker.slots.values()
    }


def orphans(state: State) -> list[tuple[str, SlotId]]:
    """Return (listener, slot) of each queue that neither a worker nor a seat's next worker empties.

    A slot has at most one sweeper: if that one does not accept, another would not either.
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
    """Whether this worker can get no further connection through this slot. `holds`: its slots.

    A stalled worker does not accept. If others serve the same slot, nothing more can be known.
    """
    stalled = worker.state is WorkerState.STALLED
    if state.shared(slot):
        return stalled or slot not in holds
    if _named(state, slot) and not (stalled and _others_accept(state, worker, slot)):
        return False
    return state.slots[slot].queued == 0 and settled(state, slot)


def _others_accept(state: State, worker: Worker, slot: SlotId) -> bool:
    return any(
        slot in other.slots.values() and other.state in ACCEPTING
        for other in state.workers()
        if other is not worker
    )


def still_listens(state: State, worker: Worker, holds: AbstractSet[SlotId]) -> bool:
    """Whether it drains, but has a slot to which new connections go."""
    return worker.state is WorkerState.DRAINING and any(
        slot in holds and (state.shared(slot) or _named(state, slot))
        for slot in worker.slots.values()
    )


def shares_slots(state: State, generation: Generation) -> bool:
    """Whether workers of the generation share a slot: a common queue, lossless, less balanced."""
    for name, listener in state.listeners.items():
        if listener.shared is not None:
            continue
        slots = [seat.slots[name] for seat in generation.seats]
        if len(set(slots)) < len(slots):
            return True
    return False
