"""One worker's life: starting, ready, draining, silent, stopping. Composed by core.

Each function changes one worker and returns what is to be done about it; generations, seats and
reloads are none of its business.
"""

from wssupervisor.fleet.actions import Action, Kill, Note, NoteKind, Probe, Signal
from wssupervisor.fleet.model import Policy, ReadyBy, WorkerState
from wssupervisor.fleet.state import Drain, Worker

EMPTY_ROUNDS = 2
"""Censuses in a row that must find nothing: one alone can fall between accept and count."""

LET_GO_SECONDS = 3.0
"""How long a worker in shared mode may take to let go of its listener before it is spoken of."""
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
    told = worker.drain is not None and worker.drain.told
    tells = policy.drain_signal is not None and worker.pid is not None and not told
    limit = policy.drain_timeout
    deadline = None if limit == float("inf") else now + limit
    worker.drain = Drain(now, now + keep, deadline, told=told or tells)
    return [Signal(worker.id, policy.drain_signal)] if tells and policy.drain_signal else []


def end_drain(worker: Worker) -> None:
    """It is steered to again, as if it had never drained."""
    worker.state = WorkerState.READY
    worker.drain = None


def can_serve_again(worker: Worker) -> bool:
    """It drains, but was ready before and was told nothing that it could not take back."""
    drain = worker.drain
    return (
        worker.state is WorkerState.DRAINING
        and worker.ready_at is not None
        and drain is not None
        and not drain.told
    )


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


def counted(
    worker: Worker, connections: int, *, alone: bool, still_listens: bool, began_at: float
) -> list[Action]:
    """Take in one census. `alone`: nothing else could still become this worker's connection.

    `still_listens`: it has not let go of a listener whose new connections are not for it.
    """
    worker.connections = connections
    drain = worker.drain
    if drain is None or began_at < drain.since:
        return []
    drain.empty_rounds = drain.empty_rounds + 1 if alone and not connections else 0
    if still_listens and began_at < drain.since + LET_GO_SECONDS:
        return []  # it may be about to
    before, drain.still_listens = drain.still_listens, still_listens
    if still_listens and not before:
        return [note(NoteKind.STILL_LISTENS, worker, told=drain.told)]
    return []


def pass_time(worker: Worker, policy: Policy, now: float) -> list[Action]:
    """What its own deadlines ask for now."""
    if worker.kill_at is not None and now >= worker.kill_at:
        return kill(worker)
    drain = worker.drain
    if worker.state not in FINISHING or drain is None or stands_still(drain):
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
    drain = worker.drain
    if worker.state in FINISHING and drain is not None and not stands_still(drain):
        if drain.deadline is not None:
            found.append(drain.deadline)
        if drain.empty_rounds >= EMPTY_ROUNDS:
            found.append(drain.keep_until)
    return found


def stands_still(drain: Drain) -> bool:
    """Nothing ends the worker now."""
    return drain.paused_at is not None or drain.kept


def pause(drain: Drain, now: float) -> None:
    """Let its limits stand still; a second time changes nothing."""
    if drain.paused_at is None:
        drain.paused_at = now


def resume(drain: Drain, now: float) -> None:
    """Let its limits go on from where they stood."""
    if drain.paused_at is None:
        return
    stood = now - drain.paused_at
    drain.paused_at = None
    drain.keep_until += stood
    if drain.deadline is not None:
        drain.deadline += stood


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
