"""One reload, from its request to its one verdict. The start of the instance is the first one."""

from collections.abc import Iterable, Iterator
from math import inf

from wssupervisor.fleet import capacity, draining, lifecycle, proof, releasing, seating, steering
from wssupervisor.fleet.actions import Accepted, Action, Answer, Begun, CutOver, Failed, Resolve
from wssupervisor.fleet.events import ReloadRequested
from wssupervisor.fleet.model import (
    GenerationState,
    Policy,
    Release,
    WorkerId,
)
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import (
    Generation,
    Pinned,
    Reload,
    ReloadKind,
    ReloadPhase,
    Seat,
    State,
    Stop,
    Verdict,
)

NAMED_SECONDS = 0.001
"""The minimum time from a request to its cutover. By then the requester knows the id, with which it
can ask for the verdict if the supervisor dies."""
LINEAGE_MAX = 10
"""The number of generations that can be rolled back to, one after the other."""


def start(state: State, release: Release, policy: Policy, now: float) -> Iterator[Action]:
    """Begin the start of the instance: judged like a reload, but its failure ends the daemon."""
    state.policy = policy
    state.reload = Reload(0, ReloadKind.START, None, now, inf, ReloadPhase.RESOLVING)
    yield from resolved(state, release, policy, now)


def why_busy(state: State) -> str | None:
    """Return why no reload can begin now."""
    if state.stop is not None:
        return "the instance is stopping"
    if state.reload is not None:
        return f"{_UNDER_WAY[state.reload.kind]}. Try again when it is done"
    if state.active is None:
        return "the instance has not started yet"
    return None


_UNDER_WAY = {
    ReloadKind.START: "the instance is still starting",
    ReloadKind.RELOAD: "a reload is under way",
    ReloadKind.ROLLBACK: "a rollback is under way",
}


def request(state: State, asked: ReloadRequested, now: float) -> Iterator[Action]:
    """Begin a reload, unless one (or a stop) is under way."""
    request_id = asked.request
    busy = why_busy(state)
    if busy is not None:
        yield Note(NoteKind.RELOAD_REFUSED, {"attempt": ReloadKind.RELOAD.value, "reason": busy})
        if request_id is not None:
            yield Answer(request_id, Failed("busy", busy))
        return
    state.last_reload += 1
    number = state.last_reload
    state.reload = Reload(
        number,
        ReloadKind.RELOAD,
        request_id if asked.waits else None,
        now,
        now + asked.timeout,
        ReloadPhase.RESOLVING,
        make_room=asked.make_room,
        by=asked.by,
    )
    yield Note(NoteKind.RELOAD_BEGUN, {"reload": name(number), **asked.by.fields()})
    if request_id is not None and not asked.waits:
        yield Answer(request_id, Accepted(number))
    elif request_id is not None:
        yield Begun(request_id, number)
    yield Resolve(number)


def resolving(state: State, reload: int) -> bool:
    """Whether this reload still waits for its release: another result comes too late."""
    own = state.reload
    return own is not None and own.id == reload and own.phase is ReloadPhase.RESOLVING


def resolved(state: State, release: Release, policy: Policy, now: float) -> Iterator[Action]:
    """The release is known: start a new generation, as soon as there is room."""
    shared = [listener.name for listener in state.listeners.values() if listener.shared is not None]
    if shared and policy.ready_by in proof.BY_PROBE:
        text = (
            f'[ready] by = "{policy.ready_by.value}" cannot distinguish generations on listener'
            f' {shared[0]!r}, which is in shared mode. Set [ready] by to "notify" or "delay"'
        )
        yield from fail(state, text, now)
        return
    unsteered = [name for name in shared if name in policy.by_client]
    if unsteered:
        text = (
            f'[[listen]] balance = "client" needs steering, but listener {unsteered[0]!r} is in'
            " shared mode. Remove balance, or see in `wssctl status` why the listener is shared"
        )
        yield from fail(state, text, now)
        return
    cannot = None if state.reload is None else releasing.why_not(state, policy)
    if cannot is not None:
        yield from fail(state, cannot, now)
        return
    yield from wait_for_room(state, Pinned(0, release, policy), now)


def wait_for_room(state: State, pinned: Pinned, now: float) -> Iterator[Action]:
    """Start it now, or when others have made room; fail if none will."""
    reload = state.reload
    assert reload is not None
    too_many = capacity.too_many(state, reload, pinned.policy)
    if too_many is not None:
        yield from fail(state, too_many, now)
        return
    reload.waiting = pinned
    reload.phase = ReloadPhase.MAKING_ROOM
    yield from _start_in_room(state, reload, pinned, now)


def _start_in_room(state: State, reload: Reload, pinned: Pinned, now: float) -> Iterator[Action]:
    first = reload.kind is ReloadKind.START
    choose = steering.starting_slots if first else steering.free_slots
    slots = {name: choose(state, listener) for name, listener in state.listeners.items()}
    lacking = capacity.no_slot(state, slots)
    if lacking is None:
        yield from _start(state, reload, pinned, slots, now)
        return
    if not capacity.comes(state, now):
        yield from capacity.end_emptiest(
            state, now, cuts=capacity.may_cut_drains(reload, pinned.policy)
        )
    if not capacity.comes(state, now):
        yield from fail(state, lacking, now)


def _start(
    state: State, reload: Reload, pinned: Pinned, slots: dict[str, list[int]], now: float
) -> Iterator[Action]:
    state.last_generation += 1
    generation = Generation(
        state.last_generation,
        pinned.release,
        pinned.policy,
        GenerationState.STARTING,
        started_at=now,
    )
    state.generations[generation.number] = generation
    reload.generation = generation.number
    reload.waiting = None
    reload.phase = ReloadPhase.STARTING
    yield from seating.fill(generation, state.workers_wanted(pinned.policy), slots, now)


def fail(
    state: State,
    reason: str,
    now: float,
    *,
    of: WorkerId | None = None,
    quitting: bool = False,
) -> Iterator[Action]:
    """Discard the candidate, with a reason. Nothing of any other generation is touched.

    `of`: the worker whose output explains it. `quitting`: a stop is about to follow and decides
    the exit status.
    """
    reload = state.reload
    assert reload is not None
    candidate = state.candidate
    release = _release(reload, candidate)
    yield from releasing.cancel(state, now)
    if candidate is not None and candidate.drain_since is not None:
        yield from draining.keep_draining(state, candidate, now)
    elif candidate is not None:
        candidate.state = GenerationState.FAILED
        for worker in candidate.workers.values():
            yield from lifecycle.stop(worker, state.policy, now)
    state.reload = None
    if reload.kind is ReloadKind.START:
        if not quitting:
            deadline = now + state.policy.stop_timeout
            state.stop = Stop(None, deadline, status=1, reason=reason, of=of)
        return
    seconds = now - reload.began_at
    state.verdict = Verdict(
        reload.id, reload.kind, ok=False, generation=reload.generation, replaced=None,
        reason=reason, of=of, began_at=reload.began_at, seconds=seconds,
    )  # fmt: skip
    yield Note(
        NoteKind.RELOAD_FAILED,
        {
            "reload": name(reload.id),
            "attempt": reload.kind.value,
            "generation": reload.generation,
            "seconds": round(seconds, 3),
            "release": release,
            "reason": reason,
        },
    )
    if reload.request is not None:
        yield Answer(reload.request, Failed("reload-failed", reason, reload.id, of))


def _release(reload: Reload, candidate: Generation | None) -> str | None:
    """The directory of the release; None before it is known."""
    if candidate is not None:
        return candidate.release.directory
    return None if reload.waiting is None else reload.waiting.release.directory


def judging(state: State, worker_id: WorkerId) -> bool:
    """Whether the worker is a candidate's before the cutover: its failure fails the reload."""
    reload, candidate = state.reload, state.candidate
    return (
        reload is not None
        and candidate is not None
        and reload.phase in (ReloadPhase.STARTING, ReloadPhase.RELEASING_SOCKETS)
        and candidate.number == worker_id.generation
        and any(seat.worker == worker_id for seat in candidate.seats)
    )


def settle(state: State, now: float) -> Iterator[Action]:
    """Judge the reload under way: too late, or ready for the cutover."""
    reload = state.reload
    if reload is None or reload.phase is ReloadPhase.CUTTING:
        return
    if now >= reload.deadline:
        limit = reload.deadline - reload.began_at
        text = f"not done within {limit:g}s: {waits_for(state, now)}"
        yield from fail(state, text, now, of=next(iter(_late_workers(state.candidate)), None))
        return
    if reload.waiting is not None:
        yield from _start_in_room(state, reload, reload.waiting, now)
        return
    candidate, cutover_at = state.candidate, _cutover_at(reload, state.candidate)
    if candidate is None or cutover_at is None or now < cutover_at:
        return
    if releasing.needed(state):
        reload.phase = ReloadPhase.RELEASING_SOCKETS
        yield from releasing.ask(state, candidate.policy, now)
        why_failed = releasing.why_failed(state, candidate.policy)
        if why_failed is not None:
            yield from fail(state, why_failed, now)
        return
    if steering.may_steer(state, now):
        reload.phase = ReloadPhase.CUTTING


def _stable_at(candidate: Generation | None) -> float | None:
    """When all its workers will have been ready for `stable`; None if one is not ready."""
    if candidate is None:
        return None
    latest = candidate.started_at
    for seat in candidate.seats:
        worker = None if seat.worker is None else candidate.workers[seat.worker]
        if worker is None or worker.ready_at is None or not steering.serves(candidate, seat):
            return None
        latest = max(latest, worker.ready_at + candidate.policy.stable)
    return latest


def _cutover_at(reload: Reload, candidate: Generation | None) -> float | None:
    """The earliest instant of its cutover; None while a worker is not ready."""
    stable_at = _stable_at(candidate)
    return None if stable_at is None else max(stable_at, reload.began_at + NAMED_SECONDS)


def _late(candidate: Generation) -> list[Seat]:
    """The candidate's seats whose worker is not ready yet."""
    return [seat for seat in candidate.seats if not steering.serves(candidate, seat)]


def _late_workers(candidate: Generation | None) -> list[WorkerId]:
    found = _late(candidate) if candidate is not None else []
    return [seat.worker for seat in found if seat.worker is not None]


def waits_for(state: State, now: float) -> str:
    """Return, as text, what the reload under way waits for."""
    candidate = state.candidate
    if candidate is None:
        if state.reload is not None and state.reload.waiting is not None:
            return "a free slot, which workers that are ending still hold"
        return "reading the configuration"
    late = [str(seat.index) for seat in _late(candidate)]
    if late:
        noun = "worker" if len(late) == 1 else "workers"
        text = f"{noun} {', '.join(late)} of generation {candidate.number} not ready yet"
        tried = [candidate.workers[worker].last_probe_error for worker in _late_workers(candidate)]
        why = next((worker for worker in tried if worker is not None), None)
        return text if why is None else f"{text}: it {why}"
    if state.reload is not None and state.reload.phase is ReloadPhase.RELEASING_SOCKETS:
        return releasing.waits_for(state)
    stable_at = _stable_at(candidate)
    if stable_at is not None and now < stable_at:
        return (
            f"generation {candidate.number} is ready, and must stay ready for another"
            f" {stable_at - now:.1f} s"
        )
    return "cutover"


def cut_over(state: State, now: float) -> Iterator[Action]:
    """New connections now go to the candidate: it is the active generation."""
    reload, candidate, replaced = state.reload, state.candidate, state.active
    assert reload is not None
    assert candidate is not None
    candidate.state = GenerationState.ACTIVE
    candidate.active_since = now
    if reload.kind is ReloadKind.ROLLBACK:
        state.lineage.pop()
        yield from draining.end(candidate)
    elif replaced is not None:
        own = Pinned(replaced.number, replaced.release, replaced.policy)
        state.lineage = [*state.lineage, own][-LINEAGE_MAX:]
        if state.scaled is not None and state.scaled.instead_of != candidate.policy.workers:
            state.scaled = None  # the file has changed since then
    state.policy = candidate.policy
    state.reload = None
    seconds = now - reload.began_at
    before = None if replaced is None else replaced.number
    fields = {
        "generation": candidate.number,
        "replaced": before,
        "seconds": round(seconds, 3),
        "release": candidate.release.directory,
    }
    if reload.kind is ReloadKind.START:
        yield Note(NoteKind.STARTED, fields)
    else:
        state.verdict = Verdict(
            reload.id, reload.kind, ok=True, generation=candidate.number, replaced=before,
            reason=None, of=None, began_at=reload.began_at, seconds=seconds,
        )  # fmt: skip
        cutover = {"reload": name(reload.id), "attempt": reload.kind.value, **fields}
        yield Note(NoteKind.CUTOVER, cutover)
        if reload.request is not None:
            outcome = CutOver(reload.id, candidate.number, before, seconds)
            yield Answer(reload.request, outcome)
    if replaced is not None:
        yield from capacity.make_room_to_drain(state, reload, candidate.policy, now)
        yield from draining.begin(state, replaced, now)


def deadlines(state: State) -> Iterable[float]:
    reload = state.reload
    if reload is None or reload.phase is ReloadPhase.CUTTING:
        return
    yield reload.deadline
    cutover_at = _cutover_at(reload, state.candidate)
    waits = reload.phase is ReloadPhase.RELEASING_SOCKETS and releasing.needed(state)
    if cutover_at is not None and state.steering.in_flight is None and not waits:
        yield max(cutover_at, state.steering.retry_at or cutover_at)


def name(reload: int) -> str:
    """Return the public id of a reload or rollback, such as r12."""
    return f"r{reload}"
