"""A read-only view of the fleet for `status`, `why` and the metrics."""

from dataclasses import dataclass

from wssupervisor.fleet import draining, leaving, reloading, stall, steering
from wssupervisor.fleet.model import GenerationState, InstanceState, SlotId, WorkerState
from wssupervisor.fleet.state import Generation, Out, Seat, State, Verdict, Worker


@dataclass(frozen=True, slots=True)
class WorkerView:
    """`retry_at`: the next start, in state `waiting`. All instants are monotonic."""

    index: int
    incarnation: int
    pid: int | None
    state: WorkerState
    slots: dict[str, SlotId]
    connections: int
    reported: int | None
    queued: int
    library: bool
    unresponsive_since: float | None
    spawned_at: float | None
    restarts: int
    retry_at: float | None
    reason: str | None
    sweeper: bool
    still_listens: bool


@dataclass(frozen=True, slots=True)
class DrainView:
    since: float
    connections_at_start: int
    deadline: float | None
    paused: bool
    keep_until: float | None


@dataclass(frozen=True, slots=True)
class GenerationView:
    number: int
    state: GenerationState
    release: str
    started_at: float
    active_since: float | None
    connections: int
    shares_slots: bool
    drain: DrainView | None
    workers: tuple[WorkerView, ...]


@dataclass(frozen=True, slots=True)
class ListenerView:
    name: str
    slots: tuple[SlotId, ...]
    shared: bool
    by_client: bool
    free: int
    queued: int


@dataclass(frozen=True, slots=True)
class OutView:
    """`waited_for`: connections of workers that cannot be asked to close them."""

    since: float
    by: str | None
    asks_from: float
    deadline: float | None
    connections: int
    waited_for: int
    emptied_at: float | None


@dataclass(frozen=True, slots=True)
class FleetView:
    state: InstanceState
    started_at: float
    workers_wanted: int
    workers_configured: int
    listeners: tuple[ListenerView, ...]
    generations: tuple[GenerationView, ...]
    verdict: Verdict | None
    waits_for: str | None
    out_of_rotation: OutView | None


def view(state: State, now: float) -> FleetView:
    """Return the whole view, newest generation first."""
    numbers = sorted(state.generations, reverse=True)
    return FleetView(
        state=instance_state(state),
        started_at=state.started_at,
        workers_wanted=state.workers_wanted(state.policy),
        workers_configured=state.policy.workers,
        listeners=tuple(
            ListenerView(
                one.name,
                one.slots,
                one.shared is not None,
                one.name in state.policy.by_client,
                len(steering.free_slots(state, one)),
                sum(state.slots[slot].queued for slot in one.slots),
            )
            for one in state.listeners.values()
        ),
        generations=tuple(_generation(state, state.generations[number], now) for number in numbers),
        verdict=state.verdict,
        waits_for=None if state.reload is None else reloading.waits_for(state, now),
        out_of_rotation=None
        if state.out_of_rotation is None
        else _out(state, state.out_of_rotation),
    )


def instance_state(state: State) -> InstanceState:
    if state.stop is not None:
        return InstanceState.STOPPING
    active = state.active
    if active is None:
        return InstanceState.STARTING
    if state.reload is not None:
        return InstanceState.RELOADING
    ready = [
        seat for seat in active.seats if seat.worker is not None and steering.serves(active, seat)
    ]
    return InstanceState.SERVING if len(ready) == len(active.seats) else InstanceState.DEGRADED


def _out(state: State, out: Out) -> OutView:
    return OutView(
        since=out.since,
        by=out.by,
        asks_from=out.asks_from,
        deadline=out.deadline,
        connections=leaving.connections(state),
        waited_for=leaving.waited_for(state),
        emptied_at=out.emptied_at,
    )


def _generation(state: State, generation: Generation, now: float) -> GenerationView:
    drain = None
    if generation.drain_since is not None:
        drain = DrainView(
            generation.drain_since,
            generation.connections_at_start,
            draining.deadline(generation),
            draining.paused(generation),
            max((one.keep_until for one in draining.drains(generation)), default=None),
        )
    waiting = (
        [_waiting(seat) for seat in generation.seats if seat.worker is None]
        if generation.state is GenerationState.ACTIVE
        else []
    )
    living = [_worker(state, generation, one, now) for one in generation.workers.values()]
    return GenerationView(
        number=generation.number,
        state=generation.state,
        release=generation.release.directory,
        started_at=generation.started_at,
        active_since=generation.active_since,
        connections=sum(one.connections for one in generation.workers.values()),
        shares_slots=steering.shares_slots(state, generation),
        drain=drain,
        workers=tuple(sorted(living + waiting, key=lambda one: (one.index, one.incarnation))),
    )


def _worker(state: State, generation: Generation, one: Worker, now: float) -> WorkerView:
    stalled = one.state is WorkerState.READY and one.stalled_since is not None
    own = [slot for slot in one.slots.values() if not state.shared(slot)]
    return WorkerView(
        index=one.id.index,
        incarnation=one.id.incarnation,
        pid=one.pid,
        state=WorkerState.STALLED if stalled else one.state,
        slots=dict(one.slots),
        connections=one.connections,
        reported=one.reported,
        queued=sum(state.slots[slot].queued for slot in own),
        library=one.closes_on_request,
        unresponsive_since=one.unresponsive_since,
        spawned_at=one.spawned_at,
        restarts=one.id.incarnation - 1,
        retry_at=None,
        reason=stall.why(generation, one, now) if stalled else one.reason or _why_left(one),
        sweeper=one.sweeper,
        still_listens=one.drain is not None and one.drain.still_listens,
    )


def _why_left(one: Worker) -> str | None:
    if one.leftover is None:
        return None
    return f"its main process {one.leftover.exit}, and other processes of it are still running"


def _waiting(seat: Seat) -> WorkerView:
    return WorkerView(
        index=seat.index,
        incarnation=seat.incarnation,
        pid=None,
        state=WorkerState.WAITING,
        slots=dict(seat.slots),
        connections=0,
        reported=None,
        queued=0,
        library=False,
        unresponsive_since=None,
        spawned_at=None,
        restarts=seat.incarnation - 1,
        retry_at=seat.retry_at,
        reason=seat.reason,
        sweeper=False,
        still_listens=False,
    )
