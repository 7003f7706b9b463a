"""One reload from its request to its one verdict; the instance's own start is the first of them."""

from collections.abc import Iterable, Iterator
from math import inf

from wssupervisor.fleet import seating, steering, worker
from wssupervisor.fleet.actions import (
    Accepted,
    Action,
    Answer,
    CutOver,
    Failed,
    Note,
    NoteKind,
    Resolve,
)
from wssupervisor.fleet.model import (
    GenerationState,
    Policy,
    Release,
    RequestId,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.state import Generation, Reload, ReloadPhase, State, Stop, Verdict


def start(state: State, release: Release, policy: Policy, now: float) -> Iterator[Action]:
    """The instance's own start: judged like a reload, but its failure ends the daemon."""
    state.policy = policy
    state.reload = Reload(0, None, now, inf, ReloadPhase.RESOLVING, first=True)
    yield from resolved(state, release, policy, now)


def request(
    state: State, who: RequestId | None, timeout: float, now: float, *, waits: bool
) -> Iterator[Action]:
    """Begin a reload, unless one (or a stop) is under way."""
    busy = None
    if state.stop is not None:
        busy = "the instance is stopping"
    elif state.reload is not None:
        what = "the instance is still starting" if state.reload.first else "a reload is under way"
        busy = f"{what}; try again when it is done"
    elif state.active is None:
        busy = "the instance has not started yet"
    if busy is not None:
        yield Note(NoteKind.RELOAD_REFUSED, {"reason": busy})
        if who is not None:
            yield Answer(who, Failed("busy", busy))
        return
    state.last_reload += 1
    number = state.last_reload
    waiting = who if waits else None
    state.reload = Reload(number, waiting, now, now + timeout, ReloadPhase.RESOLVING)
    yield Note(NoteKind.RELOAD_BEGUN, {"reload": name(number)})
    if who is not None and not waits:
        yield Answer(who, Accepted(number))
    yield Resolve(number)


def resolving(state: State, reload: int) -> bool:
    """This reload still waits for its release: anything else comes too late."""
    own = state.reload
    return own is not None and own.id == reload and own.phase is ReloadPhase.RESOLVING


def resolved(state: State, release: Release, policy: Policy, now: float) -> Iterator[Action]:
    """The release is known: start a whole new generation of it, if there is room."""
    reload = state.reload
    assert reload is not None
    choose = steering.starting_slots if reload.first else steering.free_slots
    slots = {name: choose(state, one) for name, one in state.listeners.items()}
    no_room = None if reload.first else _no_room(state, policy, slots)
    if no_room is not None:
        yield from fail(state, no_room, now)
        return
    state.last_generation += 1
    generation = Generation(
        state.last_generation, release, policy, GenerationState.STARTING, started_at=now
    )
    generation.next_index = policy.workers
    state.generations[generation.number] = generation
    reload.generation = generation.number
    reload.phase = ReloadPhase.STARTING
    yield from seating.fill(generation, slots, now)


def _no_room(state: State, policy: Policy, slots: dict[str, list[int]]) -> str | None:
    draining = sorted(one.number for one in state.in_state(GenerationState.DRAINING))
    numbers = ", ".join(str(number) for number in draining)
    one = len(draining) == 1
    which, end = (f"generation {numbers}", "s") if one else (f"generations {numbers}", "")
    way_out = (
        f"`wssctl drain {draining[0]} --within 0s` ends the oldest, with its connections"
        if draining
        else "try again in a few seconds"
    )
    for name, free in slots.items():
        if not free:
            holders = f"held by {which}" if draining else "workers that are ending hold them"
            return f"no slot of listener {name!r} is free: {holders}; {way_out}"
    if len(draining) >= policy.max_draining:
        return (
            f"no room for one more draining generation: {which} still drain{end} and [drain]"
            f" max_draining is {policy.max_draining}; {way_out}"
        )
    return None


def fail(
    state: State,
    reason: str,
    now: float,
    *,
    of: WorkerId | None = None,
    quitting: bool = False,
) -> Iterator[Action]:
    """Throw the candidate away and say why; nothing of any other generation is touched.

    `of`: the worker whose output explains it. `quitting`: a stop is about to follow and decides
    the exit status.
    """
    reload = state.reload
    assert reload is not None
    if state.candidate is not None:
        state.candidate.state = GenerationState.FAILED
        for one in state.candidate.workers.values():
            yield from worker.stop(one, state.policy, now)
    state.reload = None
    if reload.first:
        if not quitting:
            deadline = now + state.policy.stop_timeout
            state.stop = Stop(None, deadline, status=1, reason=reason, of=of)
        return
    seconds = now - reload.began_at
    state.verdict = Verdict(
        reload.id, ok=False, generation=reload.generation, replaced=None, reason=reason, of=of,
        began_at=reload.began_at, seconds=seconds,
    )  # fmt: skip
    yield Note(NoteKind.RELOAD_FAILED, {"reload": name(reload.id), "reason": reason})
    if reload.request is not None:
        yield Answer(reload.request, Failed("reload-failed", reason, reload.id, of))


def judging(state: State, worker_id: WorkerId) -> bool:
    """The worker is a candidate's and the cutover is still to come: its failure is the reload's."""
    reload = state.reload
    return (
        reload is not None
        and reload.phase is ReloadPhase.STARTING
        and reload.generation == worker_id.generation
    )


def settle(state: State, now: float) -> Iterator[Action]:
    """Judge the reload under way: too late, or ready for cutover."""
    reload = state.reload
    if reload is None or reload.phase is ReloadPhase.CUTTING:
        return
    if now >= reload.deadline:
        limit = reload.deadline - reload.began_at
        text = f"not done within {limit:g}s: {waits_for(state, now)}"
        yield from fail(state, text, now, of=next(iter(_late(state.candidate)), None))
        return
    stable_at = _stable_at(state.candidate)
    if stable_at is not None and now >= stable_at and steering.may_steer(state, now):
        reload.phase = ReloadPhase.CUTTING


def _stable_at(candidate: Generation | None) -> float | None:
    """When all its workers will have been ready for `stable`; None while one is not ready."""
    if candidate is None:
        return None
    latest = candidate.started_at
    for seat in candidate.seats:
        one = None if seat.worker is None else candidate.workers[seat.worker]
        if one is None or one.state is not WorkerState.READY or one.ready_at is None:
            return None
        latest = max(latest, one.ready_at + candidate.policy.stable)
    return latest


def _late(candidate: Generation | None) -> list[WorkerId]:
    """The candidate's workers that are not ready yet."""
    return [
        one.id
        for one in (candidate.workers.values() if candidate is not None else ())
        if one.state is not WorkerState.READY
    ]


def waits_for(state: State, now: float) -> str:
    """What the reload under way is waiting for, in words."""
    candidate = state.candidate
    if candidate is None:
        return "reading the configuration"
    late = [str(one.index) for one in _late(candidate)]
    if late:
        who = "worker" if len(late) == 1 else "workers"
        return f"{who} {', '.join(late)} of generation {candidate.number} not ready yet"
    stable_at = _stable_at(candidate)
    if stable_at is not None and now < stable_at:
        return f"generation {candidate.number} ready, must stay so for {stable_at - now:.1f} s more"
    return "cutover"


def cut_over(state: State, now: float) -> Iterator[Action]:
    """New connections go to the candidate now: it is the active generation."""
    reload, candidate, replaced = state.reload, state.candidate, state.active
    assert reload is not None
    assert candidate is not None
    candidate.state = GenerationState.ACTIVE
    state.policy = candidate.policy
    state.reload = None
    seconds = now - reload.began_at
    before = None if replaced is None else replaced.number
    fields = {"generation": candidate.number, "replaced": before, "seconds": round(seconds, 3)}
    if reload.first:
        yield Note(NoteKind.STARTED, fields)
    else:
        state.verdict = Verdict(
            reload.id, ok=True, generation=candidate.number, replaced=before, reason=None, of=None,
            began_at=reload.began_at, seconds=seconds,
        )  # fmt: skip
        yield Note(NoteKind.CUTOVER, {"reload": name(reload.id), **fields})
        if reload.request is not None:
            outcome = CutOver(reload.id, candidate.number, before, seconds)
            yield Answer(reload.request, outcome)
    if replaced is not None:
        yield from begin_drain(state, replaced, now)


def begin_drain(state: State, generation: Generation, now: float) -> Iterator[Action]:
    """It gets nothing new; what it has it may finish."""
    generation.state = GenerationState.DRAINING
    generation.drain_since = now
    generation.connections_at_start = sum(one.connections for one in generation.workers.values())
    for seat in generation.seats:
        seat.retry_at = None
    yield Note(
        NoteKind.DRAIN_BEGUN,
        {"generation": generation.number, "connections": generation.connections_at_start},
    )
    for one in generation.workers.values():
        yield from worker.begin_drain(one, state.policy, state.policy.keep, now)


def deadlines(state: State) -> Iterable[float]:
    reload = state.reload
    if reload is None or reload.phase is ReloadPhase.CUTTING:
        return
    yield reload.deadline
    stable_at = _stable_at(state.candidate)
    if stable_at is not None and state.steering.in_flight is None:
        yield max(stable_at, state.steering.retry_at or stable_at)


def name(reload: int) -> str:
    """How a reload is called outside: r12."""
    return f"r{reload}"
