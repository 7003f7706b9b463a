"""The drain of a generation: how it begins, and how operators may change it."""

from collections.abc import Iterator
from math import inf, isinf

from wssupervisor.fleet import causes, lifecycle
from wssupervisor.fleet.actions import Action, Answer, DrainChanged, Failed
from wssupervisor.fleet.model import GenerationState, RequestId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import Drain, Generation, State, Worker


def begin(state: State, generation: Generation, now: float) -> Iterator[Action]:
    """The generation gets no new connections, and keeps the ones that it has."""
    generation.state = GenerationState.DRAINING
    generation.drain_since = now
    generation.connections_at_start = connections(generation)
    generation.forced = generation.lost = 0
    for seat in generation.seats:
        seat.retry_at = None
        seat.stands_in_for = None
    yield Note(
        NoteKind.DRAIN_BEGUN,
        {"generation": generation.number, "connections": generation.connections_at_start},
    )
    for worker in generation.workers.values():
        yield from lifecycle.begin_drain(worker, state.policy, state.policy.keep, now)


def limit(
    state: State, request: RequestId, number: int, within: float, now: float
) -> Iterator[Action]:
    """End the generation within this many seconds from now; `inf` removes its limit."""
    generation = _draining(state, number)
    if generation is None:
        yield _not_draining(state, request, number)
        return
    over = min(state.policy.close_over, within)
    yield from _set_limit(generation, within, over, now)
    yield _changed(request, generation, now)


def pause(state: State, request: RequestId, number: int, now: float) -> Iterator[Action]:
    generation = _draining(state, number)
    if generation is None:
        yield _not_draining(state, request, number)
        return
    for worker in generation.workers.values():
        yield from lifecycle.pause(worker, now)
    yield Note(NoteKind.DRAIN_PAUSED, {"generation": number})
    yield _changed(request, generation, now)


def resume(state: State, request: RequestId, number: int, now: float) -> Iterator[Action]:
    generation = _draining(state, number)
    if generation is None:
        yield _not_draining(state, request, number)
        return
    for drain in drains(generation):
        lifecycle.resume(drain, now)
    yield Note(NoteKind.DRAIN_RESUMED, {"generation": number})
    yield _changed(request, generation, now)


def end_empty(state: State, generation: Generation, now: float) -> Iterator[Action]:
    """End an empty generation before its `keep` is over, because another needs its room."""
    yield _cut_short(generation)
    for worker in generation.workers.values():
        if worker.drain is not None:
            worker.drain.keep_until = min(worker.drain.keep_until, now)
        yield from lifecycle.pass_time(worker, state.policy, now)


def _cut_short(generation: Generation) -> Note:
    fields = {"generation": generation.number, "connections": connections(generation)}
    return Note(NoteKind.DRAIN_CUT_SHORT, fields)


def end_early(state: State, generation: Generation, now: float) -> Iterator[Action]:
    """End a generation now, closing its connections, because another one needs its room."""
    yield _cut_short(generation)
    yield from _set_limit(generation, 0.0, state.policy.close_over, now)
    for worker in generation.workers.values():
        yield from lifecycle.pass_time(worker, state.policy, now)


def worker_exited(generation: Generation, worker: Worker) -> None:
    """Count the connections that the end of this worker closed or lost."""
    if generation.state is GenerationState.DRAINING:
        generation.forced += worker.forced
        if not causes.expected(worker):
            generation.lost += causes.at_stake(worker)


def over(generation: Generation, now: float) -> Note:
    """Return the note of a completed drain: its duration, and the fate of its connections."""
    return Note(
        NoteKind.GENERATION_RETIRED,
        {
            "generation": generation.number,
            "seconds": round(now - (generation.drain_since or now), 3),
            "connections": generation.connections_at_start,
            "forced": generation.forced,
            "lost": generation.lost,
        },
    )


def hold_for_rollback(generation: Generation) -> None:
    """Let nothing end workers that can serve again, until the rollback is decided."""
    for worker in _could_serve_again(generation):
        if worker.drain is not None:
            worker.drain.held_for_rollback = True


def keep_draining(state: State, generation: Generation, now: float) -> Iterator[Action]:
    """The rollback failed: keep draining as before, and end workers that were started for it."""
    generation.state = GenerationState.DRAINING
    for worker in generation.workers.values():
        if worker.drain is None:
            yield from lifecycle.stop(worker, state.policy, now)
    _release_hold(generation)


def end(generation: Generation) -> Iterator[Action]:
    """The generation is active again: workers in its seats serve as if they had never drained."""
    generation.drain_since = None
    for worker in _could_serve_again(generation):
        yield from lifecycle.end_drain(worker)
    _release_hold(generation)


def _release_hold(generation: Generation) -> None:
    """A draining worker may already be empty: nothing counted while the drain was paused."""
    for drain in drains(generation):
        drain.held_for_rollback = False
        drain.empty_rounds = 0


def _could_serve_again(generation: Generation) -> list[Worker]:
    """Return workers in its seats. Scaled-down workers and sweepers do not serve again."""
    seated = [generation.workers[seat.worker] for seat in generation.seats if seat.worker]
    return [worker for worker in seated if lifecycle.can_serve_again(worker)]


def is_ending(generation: Generation, now: float) -> bool:
    """Whether all its workers are ending."""
    return all(
        worker.state is WorkerState.STOPPING
        or (
            worker.drain is not None
            and worker.drain.deadline is not None
            and worker.drain.deadline <= now
        )
        for worker in generation.workers.values()
    )


def paused(generation: Generation) -> bool:
    return any(drain.paused_at is not None for drain in drains(generation))


def deadline(generation: Generation) -> float | None:
    """Return when its last worker must end; None without a limit, or while paused."""
    if paused(generation):
        return None
    found = [
        lifecycle.ends_at(worker, generation.policy)
        for worker in generation.workers.values()
        if worker.drain is not None
    ]
    return (
        max((worker for worker in found if worker is not None), default=None)
        if None not in found
        else None
    )


def drains(generation: Generation) -> list[Drain]:
    return [worker.drain for worker in generation.workers.values() if worker.drain is not None]


def connections(generation: Generation) -> int:
    return sum(worker.connections for worker in generation.workers.values())


def empty(generation: Generation) -> bool:
    """Whether the generation is proven empty: only `keep` or a pause keeps its workers alive."""
    return all(
        worker.state is WorkerState.STOPPING
        or (worker.drain is not None and worker.drain.empty_rounds >= lifecycle.EMPTY_ROUNDS)
        for worker in generation.workers.values()
    )


def emptiest(state: State) -> list[Generation]:
    """Return draining generations in the order in which they end: empty ones, then the smallest."""
    return sorted(oldest(state), key=lambda own: (not empty(own), connections(own)))


def oldest(state: State) -> list[Generation]:
    """Return draining generations, the oldest drain first."""
    return sorted(
        state.in_state(GenerationState.DRAINING), key=lambda own: (own.drain_since or 0, own.number)
    )


def _set_limit(generation: Generation, within: float, over: float, now: float) -> Iterator[Action]:
    """`over`: the share of `within` in which workers with the library close their connections."""
    for worker in generation.workers.values():
        drain = worker.drain
        if drain is None or worker.state is WorkerState.STOPPING:
            continue
        if worker.closing_by is not None:
            if worker.closing_by <= now + within + generation.policy.kill_after:
                continue  # it ends by then in any case; repeated requests must not postpone that
            lifecycle.cancel_close(worker)
            if worker.closes_on_request:
                yield lifecycle.send_drain(worker)  # it stops closing until it is asked again
        drain.close_over = None if isinf(within) else over
        begin = now + (max(0.0, within - over) if worker.closes_on_request else within)
        drain.deadline = None if isinf(within) else begin
        if drain.paused_at is not None and within < inf:
            # The new limit counts from now, or from the end of the pause.
            lifecycle.resume(drain, now)
            drain.deadline = begin
            if within:
                drain.paused_at = now


def _draining(state: State, number: int) -> Generation | None:
    """Return a draining generation, or the active one if some of its workers drain."""
    found = state.generations.get(number)
    if found is None or found.state is GenerationState.STARTING or not drains(found):
        return None
    return found


def _not_draining(state: State, request: RequestId, number: int) -> Answer:
    which = ", ".join(str(generation.number) for generation in oldest(state)) or "none"
    text = f"generation {number} is not draining (draining: {which})"
    return Answer(request, Failed("operation-failed", text))


def _changed(request: RequestId, generation: Generation, now: float) -> Answer:
    at = deadline(generation)
    return Answer(
        request,
        DrainChanged(
            generation.number,
            workers=len(drains(generation)),
            connections=connections(generation),
            paused=paused(generation),
            seconds=None if at is None else at - now,
        ),
    )
