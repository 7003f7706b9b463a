"""The read-only view of the fleet, derived from its state, for `status` and for the runtime."""

from dataclasses import dataclass

from wssupervisor.fleet import draining, health, leaving, reloading, resuming, stall, steering
from wssupervisor.fleet.counters import Counters
from wssupervisor.fleet.events import Requester
from wssupervisor.fleet.model import (
    GenerationState,
    InstanceState,
    Policy,
    RequestId,
    SlotId,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.state import Generation, OutOfRotation, Seat, State, Verdict, Worker


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker, or in state `waiting` the next worker of a seat. Instants are monotonic.

    `retry_at`: the next start, in state `waiting`.
    """

    id: WorkerId
    pid: int | None
    state: WorkerState
    slots: dict[str, SlotId]
    connections: int
    reported: int | None
    queued: int
    library: bool
    unresponsive_since: float | None
    stalled_since: float | None
    spawned_at: float | None
    restarts: int
    retry_at: float | None
    reason: str | None
    sweeper: bool
    still_listens: bool
    should_listen: bool
    """It is ready: its process tree holds all of its slots, unless it stopped accepting."""
    gets_no_more: bool
    """It drains, and no further connection can become its own if its tree holds its slots."""
    paused: bool
    """It drains, and its drain is paused."""
    held_for_rollback: bool
    """It drains, and does not end before the rollback under way has ended."""
    closing: bool
    """It was asked to close all of its connections, and will end then."""


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
class ReloadView:
    """The reload or rollback under way; `request` is the one that waits for it."""

    id: int
    request: RequestId | None
    by: Requester | None


@dataclass(frozen=True, slots=True)
class FleetView:
    """`last_reload`: the id of the last reload or rollback that began; 0 before the first."""

    state: InstanceState
    started_at: float
    workers_wanted: int
    workers_configured: int
    policy: Policy
    """In force now: that of the generation that serves."""
    listeners: tuple[ListenerView, ...]
    unheld_slots: frozenset[SlotId]
    """Slots that only the supervisor holds and no table names; parking slots are left out."""
    generations: tuple[GenerationView, ...]
    last_reload: int
    reload: ReloadView | None
    verdict: Verdict | None
    waits_for: str | None
    out_of_rotation: OutView | None
    why_not_ready: str | None
    """Why new connections are not served, or not wanted, in one line."""
    agent_line: str
    """The answer to HAProxy's agent check."""
    why_not_upgradable: str | None
    """Why the supervisor cannot be re-executed now."""
    counters: Counters

    def active(self) -> GenerationView | None:
        """The generation that serves."""
        found = (own for own in self.generations if own.state is GenerationState.ACTIVE)
        return next(found, None)


def view(state: State, now: float) -> FleetView:
    """Return the whole view, newest generation first."""
    numbers = sorted(state.generations, reverse=True)
    return FleetView(
        state=instance_state(state),
        started_at=state.started_at,
        workers_wanted=state.workers_wanted(state.policy),
        workers_configured=state.policy.workers,
        policy=state.policy,
        listeners=tuple(
            ListenerView(
                listener.name,
                listener.slots,
                listener.shared is not None,
                listener.name in state.policy.by_client,
                len(steering.free_slots(state, listener)),
                sum(state.slots[slot].queued for slot in listener.slots),
            )
            for listener in state.listeners.values()
        ),
        unheld_slots=frozenset(steering.unheld_slots(state)),
        generations=tuple(_generation(state, state.generations[number], now) for number in numbers),
        last_reload=state.last_reload,
        reload=None
        if state.reload is None
        else ReloadView(state.reload.id, state.reload.request, state.reload.by),
        verdict=state.verdict,
        waits_for=None if state.reload is None else reloading.waits_for(state, now),
        out_of_rotation=None
        if state.out_of_rotation is None
        else _out(state, state.out_of_rotation),
        why_not_ready=health.why_not_ready(state),
        agent_line=health.agent_line(state),
        why_not_upgradable=resuming.why_not(state),
        counters=state.counters,
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


def _out(state: State, out: OutOfRotation) -> OutView:
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
            max((drain.keep_until for drain in draining.drains(generation)), default=None),
        )
    waiting = (
        [_waiting(generation, seat) for seat in generation.seats if seat.worker is None]
        if generation.state is GenerationState.ACTIVE
        else []
    )
    living = [_worker(state, generation, worker, now) for worker in generation.workers.values()]
    return GenerationView(
        number=generation.number,
        state=generation.state,
        release=generation.release.directory,
        started_at=generation.started_at,
        active_since=generation.active_since,
        connections=sum(worker.connections for worker in generation.workers.values()),
        shares_slots=steering.shares_slots(state, generation),
        drain=drain,
        workers=tuple(sorted(living + waiting, key=lambda worker: worker.id)),
    )


def _worker(state: State, generation: Generation, worker: Worker, now: float) -> WorkerView:
    stalled = worker.state is WorkerState.READY and worker.stalled_since is not None
    own = [slot for slot in worker.slots.values() if not state.shared(slot)]
    drain = worker.drain
    return WorkerView(
        id=worker.id,
        pid=worker.pid,
        state=WorkerState.STALLED if stalled else worker.state,
        slots=dict(worker.slots),
        connections=worker.connections,
        reported=worker.reported,
        queued=sum(state.slots[slot].queued for slot in own),
        library=worker.closes_on_request,
        unresponsive_since=worker.unresponsive_since,
        stalled_since=worker.stalled_since,
        spawned_at=worker.spawned_at,
        restarts=worker.id.incarnation - 1,
        retry_at=None,
        reason=stall.why(generation, worker, now)
        if stalled
        else worker.reason or _why_left(worker),
        sweeper=worker.sweeper,
        still_listens=drain is not None and drain.still_listens,
        should_listen=worker.state is WorkerState.READY,
        gets_no_more=drain is not None and _gets_no_more(state, worker),
        paused=drain is not None and drain.paused_at is not None,
        held_for_rollback=drain is not None and drain.held_for_rollback,
        closing=worker.closing_by is not None,
    )


def _gets_no_more(state: State, worker: Worker) -> bool:
    slots = frozenset(worker.slots.values())
    return all(steering.nothing_comes(state, worker, slot, slots) for slot in slots)


def _why_left(worker: Worker) -> str | None:
    if worker.leftover is None:
        return None
    return f"its main process {worker.leftover.exit}; its other processes keep running"


def _waiting(generation: Generation, seat: Seat) -> WorkerView:
    return WorkerView(
        id=WorkerId(generation.number, seat.index, seat.incarnation),
        pid=None,
        state=WorkerState.WAITING,
        slots=dict(seat.slots),
        connections=0,
        reported=None,
        queued=0,
        library=False,
        unresponsive_since=None,
        stalled_since=None,
        spawned_at=None,
        restarts=seat.incarnation - 1,
        retry_at=seat.retry_at,
        reason=seat.reason,
        sweeper=False,
        still_listens=False,
        should_listen=False,
        gets_no_more=False,
        paused=False,
        held_for_rollback=False,
        closing=False,
    )
