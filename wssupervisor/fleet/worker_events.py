"""What happened to workers: spawned, ready, heard from, counted, ended. Composed by core.

A fact about a worker that is gone is ignored. So is one to which the worker's state gives no
meaning: a report that it is ready counts while it starts, and only if `[ready] by` names it.
"""

from collections.abc import Iterable, Iterator
from typing import assert_never

from wssupervisor.fleet import (
    failing,
    leaving,
    leftover,
    lifecycle,
    proof,
    releasing,
    resuming,
    stall,
    steering,
)
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.events import (
    CensusTaken,
    LeftoverJudged,
    LibraryConnected,
    LibraryDisconnected,
    MainProcessEnded,
    Observed,
    ProbeFailed,
    ProbePassed,
    ProbeTried,
    Recovered,
    SlotReleased,
    Spawned,
    SpawnFailed,
    WorkerAlive,
    WorkerCounted,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import GenerationState, WorkerState
from wssupervisor.fleet.state import State, Worker

WorkerEvent = (
    Spawned
    | SpawnFailed
    | WorkerReady
    | ProbePassed
    | ProbeFailed
    | ProbeTried
    | LibraryConnected
    | LibraryDisconnected
    | WorkerAlive
    | WorkerCounted
    | SlotReleased
    | WorkerExited
    | MainProcessEnded
    | LeftoverJudged
    | Observed
    | CensusTaken
    | Recovered
)
"""Events about workers, and about all of them at once."""


def take_in(state: State, event: WorkerEvent, now: float) -> Iterable[Action]:
    """Change the workers that the event is about; return the actions for them."""
    match event:
        case Spawned(worker=worker_id, pid=pid):
            if found := state.worker(worker_id):
                policy = state.generations[worker_id.generation].policy
                return lifecycle.spawned(found, pid, policy, now)
        case SpawnFailed(worker=worker_id, reason=reason):
            return failing.exited(state, worker_id, f"could not be started: {reason}", now)
        case WorkerReady() | ProbePassed():
            if found := state.worker(event.worker):
                policy = state.generations[found.id.generation].policy
                return lifecycle.ready(found, now) if proof.proves(event, policy) else []
        case LibraryConnected() | LibraryDisconnected() | WorkerAlive() | WorkerCounted():
            if found := state.worker(event.worker):
                return _reported(state, found, event, now)
        case ProbeFailed(worker=worker_id, reason=reason):
            return failing.not_ready(state, state.worker(worker_id), reason, now)
        case ProbeTried(worker=worker_id, reason=reason):
            if found := state.worker(worker_id):
                found.last_probe_error = reason
        case SlotReleased(worker=worker_id):
            if found := state.worker(worker_id):
                return failing.slot_released(state, found, now)
        case WorkerExited(worker=worker_id, exit=how, advice=advice):
            return failing.exited(state, worker_id, how, now, advice)
        case MainProcessEnded():
            return leftover.main_ended(state, event, now)
        case LeftoverJudged(worker=worker_id, serves=serves):
            return leftover.judged(state, worker_id, now, serves=serves)
        case Observed():
            return _observed(state, event, now)
        case CensusTaken():
            return _counted(state, event, now)
        case Recovered():
            return _recovered(state, event, now)
        case _:
            assert_never(event)
    return []


def _recovered(state: State, event: Recovered, now: float) -> Iterator[Action]:
    lost = resuming.lose(state, event)
    yield from resuming.recover(state, event, lost, now)
    for worker_id, how in event.gone.items():
        worker = state.worker(worker_id)
        if worker is not None and (worker_id in lost or worker.state is WorkerState.STOPPING):
            worker.pid = lost.get(worker_id)
            yield from failing.exited(state, worker_id, how, now)


def _reported(
    state: State,
    worker: Worker,
    event: LibraryConnected | LibraryDisconnected | WorkerAlive | WorkerCounted,
    now: float,
) -> list[Action]:
    """A worker has reported about itself."""
    match event:
        case LibraryConnected(closes=closes, releases_sockets=releases_sockets):
            shared = any(state.shared(slot) for slot in worker.slots.values())
            return lifecycle.library_connected(
                worker, closes=closes, releases_sockets=releases_sockets and shared
            )
        case LibraryDisconnected():
            lifecycle.library_disconnected(worker)
        case WorkerAlive():
            return lifecycle.show_life(worker, now)
        case WorkerCounted(connections=connections):
            worker.reported = connections
        case _:
            assert_never(event)
    return []


def _observed(state: State, event: Observed, now: float) -> Iterable[Action]:
    own = state.steering
    own.handshakes_over = max(own.handshakes_over, event.handshakes_over)
    for slot in event.deaf & state.slots.keys():
        state.slots[slot].deaf = True
    for slot, watch in state.slots.items():
        watch.occupied = slot in event.occupied
    return stall.observed(state, event, now)


def _counted(state: State, event: CensusTaken, now: float) -> Iterator[Action]:
    for worker_id, connections in event.counts.items():
        if worker := state.worker(worker_id):
            holds = event.listening.get(worker_id, frozenset())
            alone = event.unattributed == 0 and all(
                steering.nothing_comes(state, worker, slot, holds) for slot in worker.slots.values()
            )
            releasing.counted(state, worker, holds, event.began_at)
            yield from stall.counted(state, worker, connections, event, now)
            yield from lifecycle.counted(
                worker,
                connections,
                alone=alone,
                still_listens=steering.still_listens(state, worker, holds),
                began_at=event.began_at,
            )
            yield from failing.look_for_slots(state, worker, event, now)
    for generation in state.in_state(GenerationState.DRAINING):
        # It gets no new connections: those found now existed at the start, but were missed.
        found = sum(worker.connections for worker in generation.workers.values())
        generation.connections_at_start = max(generation.connections_at_start, found)
    yield from leaving.counted(state, event, now)
