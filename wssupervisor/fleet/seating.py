"""The seats of a generation, their respawns, and sweepers for left-over queues."""

from collections.abc import Iterable, Iterator

from wssupervisor.fleet import backoff, lifecycle, steering
from wssupervisor.fleet.actions import Action, Spawn
from wssupervisor.fleet.model import GenerationState, SlotId, WorkerId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import (
    FIRST_SWEEPER,
    Generation,
    ReloadPhase,
    Seat,
    State,
    Worker,
)

SWEEPERS, SWEEPERS_PER_SEAT = 4, 2
"""No further sweeper starts while this many of a generation (the larger one) do not accept."""


def fill(
    generation: Generation, workers: int, slots: dict[str, list[SlotId]], now: float
) -> Iterator[Action]:
    """Start all workers of a new generation. They share slots if there are too few."""
    for index in range(workers):
        own = {name: free[index % len(free)] for name, free in slots.items()}
        seat = Seat(index, own)
        generation.seats.append(seat)
        yield from _spawn_into(generation, seat, now)


def refill(
    generation: Generation, seat: Seat, slots: dict[str, SlotId], now: float
) -> Iterator[Action]:
    """Start a new worker in a seat whose old worker is gone or no longer counts."""
    if seat.worker is not None:
        seat.incarnation += 1
    seat.slots = slots
    seat.failures = 0
    yield from _spawn_into(generation, seat, now)


def _spawn_into(generation: Generation, seat: Seat, now: float) -> Iterator[Action]:
    worker_id = WorkerId(generation.number, seat.index, seat.incarnation)
    seat.worker = worker_id
    seat.retry_at = None
    ready_by = now + generation.policy.ready_timeout
    generation.workers[worker_id] = Worker(
        worker_id,
        dict(seat.slots),
        WorkerState.STARTING,
        spawned_at=now,
        ready_by=ready_by,
        watchdog=generation.policy.watchdog,
    )
    yield Spawn(worker_id, generation.release, dict(seat.slots), generation.policy.watchdog)


def remove(state: State, worker: Worker, how: str, now: float) -> Iterator[Action]:
    """A worker has ended. Its seat, if it had one, is free for the next incarnation."""
    generation = state.generations[worker.id.generation]
    del generation.workers[worker.id]
    shared = {slot for other in state.workers() for slot in other.slots.values()}
    for slot in set(worker.slots.values()) - shared:
        state.slots[slot].seen_at = None  # its queue may have held the worker's probe
    _cancel_stand_in(generation, worker)
    seat = _seat_of(generation, worker.id)
    if seat is not None:
        _plan_respawn(seat, generation, worker, now)
        seat.reason = how
        if generation.state is GenerationState.ACTIVE and state.stop is None:
            seconds = round((seat.retry_at or now) - now, 3)
            if seconds > 0:
                _move(state, generation, seat)
            yield lifecycle.note(NoteKind.WORKER_RETRY, worker, seconds=seconds)
    elif worker.sweeper and worker.leftover is None:
        died = worker.state is WorkerState.DRAINING or worker.reason is not None
        sweeper_ended(generation, now, died=died)


def sweeper_ended(generation: Generation, now: float, *, died: bool) -> None:
    """Let the next sweeper start at once, or after a pause if this sweeper died."""
    generation.sweep_failures = generation.sweep_failures + 1 if died else 0
    pause = backoff.delay(generation.policy, generation.sweep_failures)
    generation.sweep_at = now + pause if pause else None


def _seat_of(generation: Generation, worker_id: WorkerId) -> Seat | None:
    return next((seat for seat in generation.seats if seat.worker == worker_id), None)


def _plan_respawn(seat: Seat, generation: Generation, worker: Worker, now: float) -> None:
    """The seat's worker is gone or no longer counts. Decide when the next worker may start."""
    policy = generation.policy
    was_ready = worker.ready_at is not None and now - worker.ready_at >= backoff.stable_time(policy)
    seat.failures = 1 if was_ready else seat.failures + 1
    seat.worker = None
    seat.incarnation += 1
    seat.retry_at = now + backoff.delay(policy, seat.failures)


def unseat(state: State, worker: Worker, now: float) -> Iterator[Action]:
    """A stalled worker loses its seat. Its replacement gets other slots, if there are any.

    The stalled worker may accept from its slot again, so new connections must not go there.
    """
    generation = state.generations[worker.id.generation]
    _cancel_stand_in(generation, worker)
    seat = _seat_of(generation, worker.id)
    if seat is None or generation.state is GenerationState.DRAINING:
        return
    _plan_respawn(seat, generation, worker, now)
    _move(state, generation, seat)
    if seat.retry_at is not None:
        yield lifecycle.note(NoteKind.WORKER_RETRY, worker, seconds=round(seat.retry_at - now, 3))


def gave_way(generation: Generation, seat: Seat) -> Worker | None:
    """Return the living worker that lost this seat because it did not accept."""
    return next(
        (
            worker
            for worker in generation.workers.values()
            if worker.gave_way_at is not None and worker.id.index == seat.index
        ),
        None,
    )


def can_return(state: State, worker: Worker) -> bool:
    """Whether the worker could serve its seat again, and no other worker has any of its slots."""
    return steering.could_serve(worker) and _alone(state, worker.slots, but=worker)


def _alone(state: State, slots: dict[str, SlotId], but: Worker | None = None) -> bool:
    """Whether no other worker has any of these slots."""
    others = {
        slot for other in state.workers() if other is not but for slot in other.slots.values()
    }
    return others.isdisjoint(slots.values())


def stand_in(
    state: State, generation: Generation, seat: Seat, worker: Worker, now: float
) -> Iterator[Action]:
    """Start a worker that replaces a stalled one as soon as it is ready.

    Nothing is steered to it before, so that it can be ended if it is not needed. If it must share a
    slot, it may accept at once; then the stalled worker gives way at once.
    """
    seat.incarnation += 1
    seat.stands_in_for = worker.id
    _move(state, generation, seat)
    if not _alone(state, seat.slots):
        yield from give_way(state, generation, seat, now)
    yield from _spawn_into(generation, seat, now)


def give_way(state: State, generation: Generation, seat: Seat, now: float) -> Iterator[Action]:
    """The stalled worker loses its seat. It keeps its connections, and gets no new ones."""
    assert seat.stands_in_for is not None
    worker = generation.workers[seat.stands_in_for]
    seat.stands_in_for = None
    yield from _stop_serving(state, worker, now)


def _stop_serving(state: State, worker: Worker, now: float) -> list[Action]:
    worker.gave_way_at = now
    seconds = now - (worker.stalled_since or now)
    return lifecycle.stop_serving(
        worker, state.policy, f"it did not accept for {seconds:.3g} s", now
    )


def swap(
    state: State, generation: Generation, seat: Seat, returns: Worker, now: float
) -> Iterator[Action]:
    """The seat's worker stalls, but the one that gave way before accepts again."""
    assert seat.worker is not None
    worker = generation.workers[seat.worker]
    seat.worker, seat.slots = returns.id, dict(returns.slots)
    returns.gave_way_at = None
    yield from lifecycle.end_drain(returns)
    yield from _stop_serving(state, worker, now)


def return_seat(state: State, worker: Worker, now: float) -> Iterator[Action]:
    """A stalled worker accepts again. End its replacement, which is not ready."""
    generation = state.generations[worker.id.generation]
    for seat in generation.seats:
        if seat.stands_in_for != worker.id:
            continue
        replacement, seat.worker = seat.worker, worker.id
        seat.stands_in_for = None
        seat.slots = dict(worker.slots)
        seat.retry_at = None
        if replacement is not None:
            yield from lifecycle.stop(generation.workers[replacement], state.policy, now)


def _cancel_stand_in(generation: Generation, worker: Worker) -> None:
    """The worker will not return to its seat."""
    for seat in generation.seats:
        if seat.stands_in_for == worker.id:
            seat.stands_in_for = None


def _move(state: State, generation: Generation, seat: Seat) -> None:
    """Give the seat other slots, so that a sweeper serves the old queues at once."""
    seat.slots = {
        name: (_other_slots(state, generation, seat, name) or [seat.slots[name]])[0]
        for name in state.listeners
    }


def _other_slots(state: State, generation: Generation, seat: Seat, name: str) -> list[SlotId]:
    """Return other slots for the seat: free ones, or else only those of other seats."""
    listener = state.listeners[name]
    others = {other.slots[name] for other in generation.seats if other is not seat}
    others -= steering.outsiders(state)
    found = steering.free_slots(state, listener) or sorted(others)
    return [slot for slot in found if slot != seat.slots[name]]


def _prefer_free_slots(state: State, generation: Generation, seat: Seat) -> None:
    """Replace slots before a respawn that were shared for lack of free ones, or are deaf now."""
    taken = {
        slot for other in generation.seats if other is not seat for slot in other.slots.values()
    }
    taken |= steering.accepting_slots(state)
    for name, listener in state.listeners.items():
        free = steering.free_slots(state, listener)
        own = seat.slots[name]
        if free and (own in taken or not steering.hears(state, own)):
            seat.slots[name] = free[0]


def settle(state: State, now: float) -> Iterator[Action]:
    """Respawn due workers of the active generation, and start sweepers for orphaned queues."""
    generation = state.active
    if generation is None:
        return
    for seat in [] if _releases_sockets(state) else generation.seats:
        if seat.worker is None and seat.retry_at is not None and now >= seat.retry_at:
            _prefer_free_slots(state, generation, seat)
            yield from _spawn_into(generation, seat, now)
    if generation.sweep_at is not None and now < generation.sweep_at:
        return
    generation.sweep_at = None
    for name, slot in steering.orphans(state):
        if too_many_sweepers(state, generation, now):
            return  # more start after one of them has accepted or ended
        yield from _sweep(state, generation, name, slot, now)


def too_many_sweepers(state: State, generation: Generation, now: float) -> bool:
    """Whether too many sweepers do not accept: slow clients must not cause a process per slot.

    Sweepers whose queue moves, or that have emptied it, do not count: clients from before a start
    wait in as many queues as there are slots, and may stay for hours.
    """
    held_up = sum(
        _held_up(state, generation, worker, now) for worker in generation.workers.values()
    )
    return held_up >= max(SWEEPERS, SWEEPERS_PER_SEAT * len(generation.seats))


def _held_up(state: State, generation: Generation, worker: Worker, now: float) -> bool:
    """Whether the worker is a sweeper that does not accept from its queue."""
    if worker.sweeps is None or worker.leftover is not None:
        return False
    stuck_since = state.slots[worker.sweeps].stuck_since
    since = max(worker.spawned_at, stuck_since or worker.spawned_at)
    return stuck_since is not None and now - since >= generation.policy.accept_stall


def _releases_sockets(state: State) -> bool:
    """Whether its workers stop accepting for a new generation: a new worker would accept."""
    return state.reload is not None and state.reload.phase is ReloadPhase.RELEASING_SOCKETS


def scale(state: State, now: float) -> Iterator[Action]:
    """Add or remove seats of the active generation up to the wanted number."""
    generation = state.active
    if generation is None or state.stop is not None:
        return
    wanted = state.workers_wanted(generation.policy)
    while len(generation.seats) < wanted:
        index = len(generation.seats)
        incarnation = generation.incarnations.pop(index, 1)
        slots = {name: _another_slot(state, generation, name) for name in state.listeners}
        generation.seats.append(Seat(index, slots, incarnation, retry_at=now))
    while len(generation.seats) > wanted:
        removed = generation.seats.pop()
        yield from _drain_occupants(generation, removed, now)
        generation.incarnations[removed.index] = removed.incarnation
    if state.reload is None:
        yield from _separate_from_drains(state, generation, now)


def _another_slot(state: State, generation: Generation, name: str) -> SlotId:
    """Return a free slot, or else the one that the fewest seats share."""
    free = steering.free_slots(state, state.listeners[name])
    taken = [seat.slots[name] for seat in generation.seats]
    return (free or sorted(taken, key=taken.count))[0]


def _separate_from_drains(state: State, generation: Generation, now: float) -> Iterator[Action]:
    """Move seats that share a slot with a draining worker to other slots, as soon as possible.

    The draining worker would keep accepting their connections, and never end. The workers of these
    seats drain too.
    """
    steered = [name for name, own in state.listeners.items() if own.shared is None]
    for seat in generation.seats:
        if seat.stands_in_for is not None or steering.alone_in(state, seat):
            continue
        if all(_other_slots(state, generation, seat, name) for name in steered):
            if seat.worker is not None:
                seat.retry_at = now
            yield from _drain_occupants(generation, seat, now)
            _move(state, generation, seat)


def _drain_occupants(generation: Generation, seat: Seat, now: float) -> Iterator[Action]:
    """Let the seat's worker, and the worker that it stands in for, drain without a seat."""
    if seat.stands_in_for is not None:
        worker = generation.workers[seat.stands_in_for]
        seat.stands_in_for = None
        yield from lifecycle.begin_drain(worker, generation.policy, 0.0, now)
    if seat.worker is not None:
        worker = generation.workers[seat.worker]
        seat.worker = None
        seat.incarnation += 1
        yield from lifecycle.begin_drain(worker, generation.policy, 0.0, now)


def _sweep(
    state: State, generation: Generation, name: str, slot: SlotId, now: float
) -> Iterator[Action]:
    """Start a sweeper on the slot. Of other listeners it gets a queued or a spare slot."""
    if all(orphan != (name, slot) for orphan in steering.orphans(state)):
        return  # a sweeper that was just started also serves this slot
    slots = {name: slot}
    for other in state.listeners.values():
        if other.name != name:
            queued = [found for where, found in steering.orphans(state) if where == other.name]
            slots[other.name] = (queued or steering.idle_slots(state, other))[0]
    worker_id = WorkerId(generation.number, FIRST_SWEEPER + generation.sweepers, 1)
    generation.sweepers += 1
    worker = Worker(
        worker_id, slots, WorkerState.DRAINING, spawned_at=now, sweeper=True, sweeps=slot
    )
    generation.workers[worker_id] = worker
    yield from lifecycle.begin_drain(worker, generation.policy, 0.0, now)
    yield Note(
        NoteKind.SWEEPER_STARTED,
        {
            "generation": generation.number,
            "worker": str(worker_id),
            "listener": name,
            "queued": state.slots[slot].queued,
        },
    )
    yield Spawn(worker_id, generation.release, slots)


def deadlines(state: State) -> Iterable[float]:
    generation = state.active
    if generation is None:
        return
    for seat in [] if _releases_sockets(state) else generation.seats:
        if seat.worker is None and seat.retry_at is not None:
            yield seat.retry_at
    if generation.sweep_at is not None and steering.orphans(state):
        yield generation.sweep_at
