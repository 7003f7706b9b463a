"""Workers that do not accept: noticed, steered away from, and in the end replaced.

A queue gets shorter only by `accept()`, and its length is all that the kernel shows
(docs/internals/platform.md#tcp_info-shows-the-accept-queue). So a queue that was never empty and
never shorter than at the look before has not moved, whatever its length. If a queue is always full,
more connections than before show an accept.

A pause is not a death. Steering away is cheap and soon undone: it happens after `accept_stall`, and
ends with the next accept. Replacing is expensive, and clients could cause it by keeping all threads
of a server busy: it happens after `replace_after`, one worker per seat at a time and with growing
pauses. The stalled worker keeps its seat until the replacement is ready, and still gets what can be
steered nowhere else.

A worker whose threads wait for its own clients (half a request, a byte now and then) is held up by
them. That is not its fault, and a replacement would be held up as well, so it keeps its place for
`HELD_UP_MAX_SECONDS`. No client can cause more than a few processes, and those only rarely.
"""

from collections.abc import Iterator

from wssupervisor.fleet import lifecycle, reloading, seating, steering
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.events import CensusTaken, Observed
from wssupervisor.fleet.model import GenerationState, Policy, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.state import Generation, Seat, SlotWatch, State, Worker

LOOK_GAP_SECONDS = 1.0
"""If two observations are further apart, the first proves nothing: we slept, not the worker."""
PAUSE_MAX_SECONDS = 300.0
"""The longest pause between two replacements of one seat for stalls, in seconds."""
HELD_UP_MAX_SECONDS = 300.0
"""How long a worker that its clients hold up may not accept before it is replaced, too, in seconds:
the thread that accepts may have died beside threads that wait for clients, as is their job."""
QUIET_PAUSES = 10.0
"""After this many pauses without a replacement, the next one counts as the first."""


# -- queues ---------------------------------------------------------------------------------------


def look(watch: SlotWatch, queued: int, now: float) -> None:
    """Take in one more look at a slot's queue."""
    lost_sight = watch.seen_at is None or now - watch.seen_at > LOOK_GAP_SECONDS
    moves = queued == 0 or (watch.stuck_since is not None and queued < watch.queued)
    if moves:
        watch.moved_at = now
    if queued == 0:
        watch.stuck_since = None
    elif watch.stuck_since is None or moves or lost_sight:
        watch.stuck_since = now
    watch.queued = queued
    watch.seen_at = now


def stalled(watch: SlotWatch, limit: float, now: float) -> bool:
    """Whether the queue has not moved for `limit` seconds."""
    return watch.stuck_since is not None and now - watch.stuck_since >= limit


# -- workers --------------------------------------------------------------------------------------


def observed(state: State, event: Observed, now: float) -> Iterator[Action]:
    """Judge each worker by the queues that it should empty."""
    for slot, queued in event.queues.items():
        if slot in state.slots:
            look(state.slots[slot], queued, now)
    for worker in list(state.workers()):
        policy = state.generations[worker.id.generation].policy
        if worker.state is WorkerState.READY and worker.stalled_since is None:
            yield from _steer_away(state, worker, policy, now)
        elif worker.stalled_since is not None and _accepts_again(state, worker):
            yield from accepts(state, worker, now)
        elif worker.state is WorkerState.DRAINING and _stuck(state, worker, patience(policy), now):
            yield from _give_up(state, worker, policy, now)


def counted(
    state: State, worker: Worker, connections: int, event: CensusTaken, now: float
) -> Iterator[Action]:
    """The second of two censuses since a worker stalled found more connections: it has accepted."""
    if worker.stalled_since is None or event.began_at < worker.stalled_since:
        return
    if worker.id in event.held_up:
        worker.held_up_at = event.began_at
    before, worker.stalled_with = worker.stalled_with, connections
    if before is not None and connections > before:
        for slot in worker.slots.values():
            if state.slots[slot].stuck_since is not None:
                state.slots[slot].stuck_since = now
        yield from accepts(state, worker, now)
    elif worker.sweeper and worker.state is WorkerState.STALLED and connections == 0:
        # A new sweeper may do better. This one could accept again before it is signalled; then it
        # ends like any other, when its queue is empty.
        limit = patience(state.generations[worker.id.generation].policy)
        if _stuck(state, worker, limit, now):
            yield from lifecycle.stop(worker, state.policy, now)


def patience(policy: Policy) -> float:
    """Seconds without an accept after which a worker is replaced."""
    return max(policy.replace_stalled, policy.accept_stall)


def _stuck(state: State, worker: Worker, limit: float, now: float) -> bool:
    since = worker.ready_at
    if since is None:  # a sweeper: give it the time that a start may take
        since = worker.spawned_at + state.policy.ready_timeout
    return now - since >= limit and any(
        stalled(state.slots[slot], limit, now)
        for slot in worker.slots.values()
        if worker.state is WorkerState.READY or not state.shared(slot)
    )


def _steer_away(state: State, worker: Worker, policy: Policy, now: float) -> Iterator[Action]:
    if not _stuck(state, worker, policy.accept_stall, now):
        return
    worker.stalled_since = _stuck_since(state, worker)
    yield lifecycle.note(
        NoteKind.WORKER_STALLED, worker, reason=_reason(now - worker.stalled_since)
    )


def _stuck_since(state: State, worker: Worker) -> float:
    found = [state.slots[slot].stuck_since for slot in worker.slots.values()]
    return max(worker.ready_at or 0.0, min(at for at in found if at is not None))


def _reason(seconds: float) -> str:
    return f"its queue has not moved for {seconds:.3g} s"


def _accepts_again(state: State, worker: Worker) -> bool:
    """Whether all its queues have moved, and not because another worker emptied them."""
    since = worker.stalled_since or 0.0
    if not all((state.slots[slot].moved_at or 0.0) > since for slot in worker.slots.values()):
        return False
    if worker.state is WorkerState.STALLED and _others_accept(state, worker):
        worker.stalled_since = max(
            state.slots[slot].moved_at or 0.0 for slot in worker.slots.values()
        )
        return False
    return True


def _others_accept(state: State, worker: Worker) -> bool:
    own = set(worker.slots.values())
    return any(
        other is not worker
        and not own.isdisjoint(other.slots.values())
        and other.state in steering.ACCEPTING
        and other.stalled_since is None
        for other in state.workers()
    )


def accepts(state: State, worker: Worker, now: float) -> Iterator[Action]:
    """The worker was only slow: it gets its place back unless another worker serves there now."""
    since = worker.stalled_since or now
    match worker.state:
        case WorkerState.READY | WorkerState.DRAINING:
            pass
        case WorkerState.STALLED if worker.gave_way_at is not None and _apart(state, worker):
            worker.state = WorkerState.DRAINING
            worker.reason = None
        case _:
            return
    worker.stalled_since = worker.stalled_with = worker.held_up_at = None
    yield lifecycle.note(NoteKind.WORKER_ACCEPTS, worker, seconds=round(now - since, 3))
    yield from seating.return_seat(state, worker, now)


def _apart(state: State, worker: Worker) -> bool:
    """Whether nothing is steered to its slots, so that it can drain."""
    seated = {
        slot
        for generation in state.generations.values()
        for seat in generation.seats
        for slot in seat.slots.values()
    }
    return seated.isdisjoint(worker.slots.values())


def _give_up(state: State, worker: Worker, policy: Policy, now: float) -> Iterator[Action]:
    """A draining worker does not accept: let a sweeper serve its queue."""
    reason = _reason(patience(policy))
    if reloading.judging(state, worker.id):
        yield from _fail(state, worker, reason, now)
        return
    known = worker.stalled_since is not None
    worker.stalled_since = _stuck_since(state, worker)
    lose = lifecycle.stop_serving if known else lifecycle.mark_stalled
    yield from lose(worker, state.policy, reason, now)


def _fail(state: State, worker: Worker, reason: str, now: float) -> Iterator[Action]:
    text = f"worker {worker.id.index} of generation {worker.id.generation}: {reason}"
    yield from reloading.fail(state, text, now, of=worker.id)


def why(generation: Generation, worker: Worker, now: float) -> str:
    """Return what `status` shows of a worker that is out of rotation."""
    text = _reason(now - (worker.stalled_since or now))
    for seat in generation.seats:
        if seat.stands_in_for == worker.id:
            return f"{text}; a replacement is starting"
        if seat.not_replaced == worker.id and worker.held_up_at is not None:
            return f"{text}; it waits for slow clients, and is not replaced for that"
        if seat.not_replaced == worker.id:
            return f"{text}; it is not replaced, because the limit of replacements is reached"
    return text


# -- replacements ---------------------------------------------------------------------------------


def settle(state: State, now: float) -> Iterator[Action]:
    """Start replacements that are due, and let the stalled give way to those that are ready."""
    if state.stop is not None:
        return
    if state.candidate is not None:
        yield from _judge(state, state.candidate, now)
    if state.active is not None:
        yield from _settle_active(state, state.active, now)


def _judge(state: State, candidate: Generation, now: float) -> Iterator[Action]:
    """Before its cutover, a worker that does not accept fails the reload."""
    for seat in candidate.seats:
        worker = _stalled(candidate, seat)
        if (
            worker is not None
            and reloading.judging(state, worker.id)
            and now >= _due(candidate, worker)
        ):
            yield from _fail(state, worker, _reason(now - (worker.stalled_since or now)), now)
            return


def _settle_active(state: State, active: Generation, now: float) -> Iterator[Action]:
    for seat in active.seats:
        if seat.stands_in_for is not None and steering.serves(active, seat):
            yield from seating.give_way(state, active, seat, now)
        worker = _stalled(active, seat)
        if worker is None or now < _due(active, worker):
            continue
        if now >= _replaced_from(active, worker):
            yield from _replace(state, active, seat, worker, now)
        elif seat.not_replaced != worker.id:
            seat.not_replaced = worker.id
            why = "it waits for slow clients, as a replacement would"
            yield lifecycle.note(NoteKind.STALL_NOT_REPLACED, worker, reason=why)


def _stalled(generation: Generation, seat: Seat) -> Worker | None:
    """Return a worker that has a seat, does not accept, and has no replacement under way."""
    if seat.worker is None:
        return None
    worker = generation.workers[seat.worker]
    ready = worker.state is WorkerState.READY and worker.stalled_since is not None
    return worker if ready and seat.stands_in_for is None else None


def _due(generation: Generation, worker: Worker) -> float:
    return (worker.stalled_since or 0.0) + patience(generation.policy)


def _replaced_from(generation: Generation, worker: Worker) -> float:
    """Return `_due`, postponed while censuses find that slow clients hold up the worker."""
    due = _due(generation, worker)
    if worker.held_up_at is None:
        return due
    limit = (worker.stalled_since or 0.0) + HELD_UP_MAX_SECONDS
    return max(due, min(worker.held_up_at + patience(generation.policy), limit))


def _replace(
    state: State, generation: Generation, seat: Seat, worker: Worker, now: float
) -> Iterator[Action]:
    """Start a replacement, or reuse the worker that gave way and accepts again, or note why not."""
    extra = seating.gave_way(generation, seat)
    if extra is not None and seating.can_return(state, extra):
        yield _replaced(worker, now)
        yield from seating.swap(state, generation, seat, extra, now)
        return
    pause_over = _pause_over(generation, seat)
    if extra is None and now >= pause_over:
        quiet = seat.replaced_at is None or now >= seat.replaced_at + QUIET_PAUSES * _pause(
            generation, seat
        )
        seat.replacements = 1 if quiet else seat.replacements + 1
        seat.replaced_at = now
        yield _replaced(worker, now)
        yield from seating.stand_in(state, generation, seat, worker, now)
    elif seat.not_replaced != worker.id:
        seat.not_replaced = worker.id
        why = (
            f"the next replacement starts in {pause_over - now:.3g} s at the earliest"
            if extra is None
            else f"process {extra.pid} gave way before, and still has connections or clients queued"
        )
        yield lifecycle.note(NoteKind.STALL_NOT_REPLACED, worker, reason=why)


def _replaced(worker: Worker, now: float) -> Action:
    seconds = round(now - (worker.stalled_since or now), 3)
    return lifecycle.note(NoteKind.STALL_REPLACED, worker, seconds=seconds)


def _pause(generation: Generation, seat: Seat) -> float:
    doublings = min(max(0, seat.replacements - 1), 30)
    return min(patience(generation.policy) * 2.0**doublings, PAUSE_MAX_SECONDS)


def _pause_over(generation: Generation, seat: Seat) -> float:
    """The earliest instant of the seat's next replacement."""
    if seat.replaced_at is None:
        return 0.0
    return seat.replaced_at + _pause(generation, seat)


def deadlines(state: State) -> Iterator[float]:
    """Return the instants at which `settle` would act by itself."""
    for generation in (state.candidate, state.active):
        if generation is not None:
            yield from _deadlines(state, generation)


def _deadlines(state: State, generation: Generation) -> Iterator[float]:
    for seat in generation.seats:
        worker = _stalled(generation, seat)
        if worker is None:
            continue
        due = _due(generation, worker)
        if generation.state is not GenerationState.ACTIVE:
            if reloading.judging(state, worker.id):
                yield due
        elif seat.not_replaced != worker.id:
            yield due
        elif seating.gave_way(generation, seat) is None:
            yield max(_replaced_from(generation, worker), _pause_over(generation, seat))
        elif (later := _replaced_from(generation, worker)) > due:
            yield later  # the worker that gave way may have its place back then
