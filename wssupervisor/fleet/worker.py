"""One worker's life: starting, ready, draining, silent, stopping. Composed by core.

Each function changes one worker and returns what is to be done about it; generations, seats and
reloads are none of its business.
"""

from wssupervisor.fleet.actions import Action, Kill, Note, NoteKind, Probe, Signal
from wssupervisor.fleet.model import Policy, ReadyBy, WorkerState
from wssupervisor.fleet.state import Drain, Worker

EMPTY_ROUNDS = 2
"""Censuses in a row that must find nothing: one alone can fall between accept and count."""

DRAINABLE = frozenset({WorkerState.STARTING, WorkerState.READY})
FINISHING = frozenset({WorkerState.DRAINING, WorkerState.SILENT})
"""States in which a worker gets nothing new and is ended when its connections have gone."""


def note(kind: NoteKind, worker: Worker, **fields: str | float | None) -> Note:
    return Note(
        kind,
        {"generation": worker.id.generation, "worker": str(worker.id), "pid": worker.pid, **fields},
    )


def spawned(worker: Worker, pid: int, policy: Policy, now: float) -> list[Action]:
    """It has a pid now; it may have been told to end while the spawn was under way."""
    worker.pid = pid
    actions: list[Action] = [note(NoteKind.WORKER_SPAWNED, worker)]
    if worker.state is WorkerState.STOPPING:
        return [*actions, Signal(worker.id, policy.stop_signal)]
    if worker.state is not WorkerState.STARTING:
        return actions
    match policy.ready_by:
        case ReadyBy.DELAY:
            actions += ready(worker, now)
        case ReadyBy.CONNECT:
            actions.append(Probe(worker.id, dict(worker.slots)))
        case ReadyBy.NOTIFY:
            pass
    return actions


def ready(worker: Worker, now: float) -> list[Action]:
    """It can serve; said a second time, or too late, it means nothing."""
    if worker.state is not WorkerState.STARTING or worker.pid is None:
        return []
    worker.state = WorkerState.READY
    worker.ready_at = now
    worker.ready_by = None
    return [note(NoteKind.WORKER_READY, worker, seconds=round(now - worker.spawned_at, 3))]


def begin_drain(worker: Worker, policy: Policy, keep: float, now: float) -> list[Action]:
    """Leave it alone until its connections are gone, at least `keep` seconds."""
    if worker.state in DRAINABLE:
        worker.state = WorkerState.DRAINING
    if worker.state not in FINISHING:
        return []
    worker.ready_by = None
    limit = policy.drain_timeout
    deadline = None if limit == float("inf") else now + limit
    worker.drain = Drain(since=now, keep_until=now + keep, deadline=deadline)
    if policy.drain_signal is None or worker.pid is None:
        return []
    return [Signal(worker.id, policy.drain_signal)]


def fall_silent(worker: Worker, policy: Policy, reason: str, now: float) -> list[Action]:
    """It does not accept any more: it keeps what it has and gets nothing new."""
    worker.state = WorkerState.SILENT
    worker.reason = reason
    actions: list[Action] = [note(NoteKind.WORKER_SILENT, worker, reason=reason)]
    if worker.drain is None:
        actions += begin_drain(worker, policy, 0.0, now)
    return actions


def stop(worker: Worker, policy: Policy, now: float) -> list[Action]:
    """End it: gracefully, then by force after `kill_after`."""
    if worker.state is WorkerState.STOPPING:
        return []
    worker.state = WorkerState.STOPPING
    worker.ready_by = None
    worker.kill_at = now + policy.kill_after
    if worker.pid is None:
        return []
    return [Signal(worker.id, policy.stop_signal)]


def kill(worker: Worker) -> list[Action]:
    """No more waiting; until the spawn is answered there is nothing to kill yet."""
    if worker.pid is None:
        return []
    worker.kill_at = None
    return [note(NoteKind.WORKER_KILLED, worker), Kill(worker.id)]


def counted(worker: Worker, connections: int, *, alone: bool, began_at: float) -> None:
    """Take in one census. `alone`: nothing else could still become this worker's connection."""
    worker.connections = connections
    if worker.drain is None or began_at < worker.drain.since:
        return
    worker.drain.empty_rounds = worker.drain.empty_rounds + 1 if alone and not connections else 0


def pass_time(worker: Worker, policy: Policy, now: float) -> list[Action]:
    """What its own deadlines ask for now."""
    if worker.kill_at is not None and now >= worker.kill_at:
        return kill(worker)
    drain = worker.drain
    if worker.state not in FINISHING or drain is None:
        return []
    if drain.empty_rounds >= EMPTY_ROUNDS and now >= drain.keep_until:
        drained = note(NoteKind.WORKER_DRAINED, worker, seconds=round(now - drain.since, 3))
        return [drained, *stop(worker, policy, now)]
    if drain.deadline is not None and now >= drain.deadline:
        limit = note(NoteKind.DRAIN_LIMIT, worker, connections=worker.connections)
        return [limit, *stop(worker, policy, now)]
    return []


def deadlines(worker: Worker) -> list[float]:
    """Instants at which `pass_time` would do something."""
    found = [] if worker.kill_at is None or worker.pid is None else [worker.kill_at]
    if worker.state in FINISHING and worker.drain is not None:
        if worker.drain.deadline is not None:
            found.append(worker.drain.deadline)
        if worker.drain.empty_rounds >= EMPTY_ROUNDS:
            found.append(worker.drain.keep_until)
    return found


def why_late(policy: Policy) -> str:
    """What a worker that was not ready in time has not done."""
    late = f"was not ready within {policy.ready_timeout:g}s"
    match policy.ready_by:
        case ReadyBy.CONNECT:
            return (
                f"{late}: it accepted no connection; does it serve the descriptor it is given, or"
                " a port of its own?"
            )
        case ReadyBy.NOTIFY:
            return f"{late}: it did not say READY=1 on its NOTIFY_SOCKET"
        case ReadyBy.DELAY:
            return late


def when(worker: Worker, now: float) -> str:
    """When in its start a candidate failed, in words."""
    if worker.ready_at is None:
        return "before it was ready"
    return f"{now - worker.ready_at:.2g} s after it was ready, within `stable`"
