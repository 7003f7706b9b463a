"""The life of one worker: starting, ready, draining, stalled, stopping. Composed by core.

Each function changes one worker and returns the actions for it. It knows nothing of generations,
seats and reloads.
"""

from wssupervisor.fleet import causes
from wssupervisor.fleet.actions import Action, Probe
from wssupervisor.fleet.model import Policy, ReadyBy, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import AskToClose, Kill, SendDrain, SendResume, Signal
from wssupervisor.fleet.proof import BY_PROBE
from wssupervisor.fleet.state import Drain, Worker

EMPTY_ROUNDS = 2
"""Consecutive counts that must find no connection: one can fall between accept and count."""

GOING_AWAY = 1001
SERVICE_RESTART = 1012
"""WebSocket close codes: going away; service restart, reconnect at once (RFC 6455, IANA)."""

MAIN_PROCESS_SHARE = 0.5
"""The share of `kill_after` that a main process gets to end the rest of its tree. A shell with a
trap handles and forwards no signal while its child runs."""
RELEASE_SECONDS = 3.0
"""How long a worker in shared mode may take to release its listener until it is reported."""
DRAINABLE = frozenset({WorkerState.STARTING, WorkerState.READY})
FINISHING = frozenset({WorkerState.DRAINING, WorkerState.STALLED})
"""States in which a worker gets no new connections, and ends when the last one has closed."""


def note(kind: NoteKind, worker: Worker, **fields: str | float | None) -> Note:
    return Note(
        kind,
        {"generation": worker.id.generation, "worker": str(worker.id), "pid": worker.pid, **fields},
    )


def spawned(worker: Worker, pid: int, policy: Policy, now: float) -> list[Action]:
    """The worker has a pid now. It may have been asked to end during the spawn."""
    worker.pid = pid
    actions: list[Action] = [note(NoteKind.WORKER_SPAWNED, worker)]
    if worker.state is WorkerState.STOPPING:
        return [*actions, Signal(worker.id, policy.stop_signal)]
    if worker.state is not WorkerState.STARTING:
        return actions
    if policy.ready_by is ReadyBy.DELAY:
        return [*actions, *ready(worker, now)]
    return [*actions, *judge(worker, policy)]


def judge(worker: Worker, policy: Policy) -> list[Action]:
    """Probe a starting worker, if probes judge it."""
    if worker.state is not WorkerState.STARTING or worker.pid is None:
        return []
    if policy.ready_by in BY_PROBE:
        return [Probe(worker.id, dict(worker.slots), policy.check)]
    return []


def ready(worker: Worker, now: float) -> list[Action]:
    """The worker can serve. A repeated or late report has no effect."""
    if worker.state is not WorkerState.STARTING or worker.pid is None:
        return []
    worker.state = WorkerState.READY
    worker.ready_at = now
    worker.ready_by = None
    return [note(NoteKind.WORKER_READY, worker, seconds=round(now - worker.spawned_at, 3))]


def begin_drain(worker: Worker, policy: Policy, keep: float, now: float) -> list[Action]:
    """Let it serve its connections until they are gone, and for at least `keep` seconds."""
    if worker.state in DRAINABLE:
        worker.state = WorkerState.DRAINING
    if worker.state not in FINISHING:
        return []
    worker.ready_by = None
    signalled = worker.releasing is not None or (
        worker.drain is not None and worker.drain.signalled
    )
    # The rest of a worker may not handle the signal, whose default would end it.
    can = worker.pid is not None and worker.leftover is None
    signals = policy.drain_signal is not None and can and not signalled
    limit = policy.drain_timeout
    deadline = None if limit == float("inf") else now + limit
    first = worker.drain is None
    worker.drain = Drain(now, now + keep, deadline, signalled=signalled or signals)
    actions: list[Action] = [send_drain(worker)] if worker.closes_on_request and first else []
    if signals and policy.drain_signal:
        actions.append(Signal(worker.id, policy.drain_signal))
    return actions


def send_drain(worker: Worker) -> SendDrain:
    """A worker that must release a socket shared with the next generation cannot serve again."""
    if worker.releases_sockets and worker.drain is not None:
        worker.drain.signalled = True
    worker.asked_until = None  # earlier requests to close are void now
    return SendDrain(worker.id, worker.releases_sockets)


def end_drain(worker: Worker) -> list[Action]:
    """The worker gets new connections again, as if it had never drained."""
    worker.state = WorkerState.READY
    worker.reason = None
    worker.drain = None
    worker.asked_until = None
    cancel_close(worker)
    return [SendResume(worker.id)] if worker.closes_on_request else []


def library_connected(worker: Worker, *, closes: bool, releases_sockets: bool) -> list[Action]:
    """The worker uses the library, and gets the orders that it has missed."""
    worker.closes_on_request = closes
    worker.releases_sockets = releases_sockets
    if closes and worker.state is WorkerState.DRAINING and not worker.sweeper:
        return [send_drain(worker)]
    return []


def library_disconnected(worker: Worker) -> None:
    """The worker can no longer receive orders."""
    worker.closes_on_request = worker.releases_sockets = False
    worker.reported = worker.asked_until = None


def show_life(worker: Worker, now: float) -> list[Action]:
    """The worker sent a heartbeat. If it was unresponsive, it gets new connections again."""
    worker.alive_at = now
    since, worker.unresponsive_since = worker.unresponsive_since, None
    if since is None or worker.state is not WorkerState.READY:
        return []
    return [note(NoteKind.WORKER_RECOVERED, worker, seconds=round(now - since, 3))]


def watched(worker: Worker) -> bool:
    """Whether the worker has sent a heartbeat and must keep sending them."""
    return worker.watchdog > 0 and worker.alive_at is not None and worker.state is WorkerState.READY


def given_up_at(worker: Worker, policy: Policy) -> float | None:
    """Return when an unresponsive worker is replaced: later if that would lose connections."""
    if worker.unresponsive_since is None or not watched(worker):
        return None
    patience = policy.replace_after if worker.connections else worker.watchdog
    return worker.unresponsive_since + patience


def _notice_unresponsive(worker: Worker, now: float) -> list[Action]:
    if not watched(worker) or worker.unresponsive_since is not None or worker.alive_at is None:
        return []
    if now < worker.alive_at + worker.watchdog:
        return []
    worker.unresponsive_since = now
    return [
        note(
            NoteKind.WORKER_UNRESPONSIVE,
            worker,
            seconds=round(now - worker.alive_at, 3),
            connections=worker.connections,
        )
    ]


def cancel_close(worker: Worker) -> None:
    """Cancel a request to close connections: those that the worker still has were not closed."""
    if worker.closing_by is not None:
        worker.forced = max(0, worker.forced - worker.connections)
    worker.closing_by = None


def ask_to_close(worker: Worker, code: int, over: float, by: float, now: float) -> list[Action]:
    """Close its connections over some seconds, and end it at the instant `by`."""
    if worker.closing_by is None:
        worker.forced += worker.connections
    worker.closing_by = max(now, by)
    return [AskToClose(worker.id, code, over, max(over, worker.closing_by - now))]


def end_with_instance(worker: Worker, policy: Policy, deadline: float, now: float) -> list[Action]:
    """The instance stops: end it, after it has closed its connections if it can."""
    if worker.state is WorkerState.STOPPING:
        return []
    if not worker.closes_on_request or worker.reported == 0:
        return stop(worker, policy, now)
    if now >= deadline:
        return stop(worker, policy, now)
    if worker.closing_by is None or worker.closing_by > deadline:
        latest = deadline - policy.kill_after
        over = max(0.0, min(policy.stop_close_over, latest - now))
        by = min(now + over + policy.kill_after, latest)
        return ask_to_close(worker, GOING_AWAY, over, by, now)
    return stop(worker, policy, now) if now >= worker.closing_by else []


def can_serve_again(worker: Worker) -> bool:
    """Whether it drains, but was ready before and can still serve new connections."""
    drain = worker.drain
    return (
        worker.state is WorkerState.DRAINING
        and worker.ready_at is not None
        and drain is not None
        and not drain.signalled
        and worker.leftover is None
    )


def mark_stalled(worker: Worker, policy: Policy, reason: str, now: float) -> list[Action]:
    """The worker no longer accepts: note it; it keeps its connections and gets no new ones."""
    noted = note(NoteKind.WORKER_STALLED, worker, reason=reason)
    return [noted, *stop_serving(worker, policy, reason, now)]


def stop_serving(worker: Worker, policy: Policy, reason: str, now: float) -> list[Action]:
    """Stop sending it connections, as `mark_stalled` does, but without a note."""
    worker.state = WorkerState.STALLED
    worker.reason = reason
    return begin_drain(worker, policy, 0.0, now) if worker.drain is None else []


def stop(worker: Worker, policy: Policy, now: float) -> list[Action]:
    """End it gracefully, then kill it after `kill_after`."""
    if worker.state is WorkerState.STOPPING:
        return []
    worker.state = WorkerState.STOPPING
    if worker.leftover is not None and worker.leftover.serves:
        worker.leftover.stop_signalled = True
    if worker.closing_by is None and causes.expected(worker):
        worker.forced += worker.connections
    worker.ready_by = None
    worker.kill_at = now + policy.kill_after
    if worker.leftover is None:
        worker.rest_at = now + policy.kill_after * MAIN_PROCESS_SHARE
    if worker.pid is None:
        return []
    return [Signal(worker.id, policy.stop_signal)]


def kill(worker: Worker) -> list[Action]:
    """Kill it now, if its spawn has been answered."""
    if worker.pid is None:
        return []
    worker.kill_at = worker.rest_at = None
    killed = note(NoteKind.WORKER_KILLED, worker, connections=worker.connections)
    return [killed, Kill(worker.id)]


def counted(
    worker: Worker, connections: int, *, alone: bool, still_listens: bool, began_at: float
) -> list[Action]:
    """Take in one census. `alone`: no further connection can become this worker's.

    `still_listens`: it has not released a listener whose new connections are for others.
    """
    worker.connections = connections
    drain = worker.drain
    if drain is None or began_at < drain.since:
        return []
    drain.empty_rounds = drain.empty_rounds + 1 if alone and not connections else 0
    if still_listens and began_at < drain.since + RELEASE_SECONDS:
        return []  # it may be about to release the listener
    before, drain.still_listens = drain.still_listens, still_listens
    if still_listens and not before:
        return [note(NoteKind.STILL_LISTENS, worker, drain_signalled=drain.signalled)]
    return []


def pass_time(worker: Worker, policy: Policy, now: float) -> list[Action]:
    """Act on its own deadlines."""
    if worker.kill_at is not None and now >= worker.kill_at:
        return kill(worker)
    if worker.rest_at is not None and worker.pid is not None and now >= worker.rest_at:
        worker.rest_at = None
        return [Signal(worker.id, policy.stop_signal, rest=True)]
    if unresponsive := _notice_unresponsive(worker, now):
        return unresponsive
    drain = worker.drain
    if worker.state not in FINISHING or drain is None or stands_still(drain):
        return []
    if drain.empty_rounds >= EMPTY_ROUNDS and now >= drain.keep_until:
        drained = note(NoteKind.WORKER_DRAINED, worker, seconds=round(now - drain.since, 3))
        return [drained, *stop(worker, policy, now)]
    if worker.closing_by is not None:
        return (
            stop(worker, policy, now)
            if now >= worker.closing_by or not worker.closes_on_request
            else []
        )
    if drain.deadline is not None and now >= drain.deadline:
        limit = note(NoteKind.DRAIN_LIMIT, worker, connections=worker.connections)
        if not worker.closes_on_request:
            return [limit, *stop(worker, policy, now)]
        over = policy.close_over if drain.close_over is None else drain.close_over
        by = now + over + policy.kill_after
        return [limit, *ask_to_close(worker, SERVICE_RESTART, over, by, now)]
    return []


def deadlines(worker: Worker, policy: Policy) -> list[float]:
    """Return the instants at which `pass_time`, or core, would act on it."""
    found = [] if worker.kill_at is None or worker.pid is None else [worker.kill_at]
    if worker.rest_at is not None and worker.pid is not None:
        found.append(worker.rest_at)
    if watched(worker) and worker.alive_at is not None:
        given_up = given_up_at(worker, policy)
        found.append(worker.alive_at + worker.watchdog if given_up is None else given_up)
    drain = worker.drain
    if worker.state in FINISHING and drain is not None and not stands_still(drain):
        if worker.closing_by is not None:
            found.append(worker.closing_by)
        elif drain.deadline is not None:
            found.append(drain.deadline)
        if drain.empty_rounds >= EMPTY_ROUNDS:
            found.append(drain.keep_until)
    return found


def ends_at(worker: Worker, policy: Policy) -> float | None:
    """Return when a draining worker must end, even with connections; None: no limit."""
    drain = worker.drain
    if worker.closing_by is not None or drain is None or drain.deadline is None:
        return worker.closing_by
    if not worker.closes_on_request:
        return drain.deadline
    return drain.deadline + (policy.close_over if drain.close_over is None else drain.close_over)


def stands_still(drain: Drain) -> bool:
    """Whether nothing may end the worker now."""
    return drain.paused_at is not None or drain.held_for_rollback


def pause(worker: Worker, now: float) -> list[Action]:
    """Stop its limits from advancing. Repeating it changes nothing."""
    if worker.drain is None or worker.drain.paused_at is not None:
        return []
    worker.drain.paused_at = now
    if worker.closing_by is None or worker.state is WorkerState.STOPPING:
        return []
    cancel_close(worker)
    return [send_drain(worker)]  # it keeps draining, and stops closing


def resume(drain: Drain, now: float) -> None:
    """Let its limits continue from where they stopped."""
    if drain.paused_at is None:
        return
    stood = now - drain.paused_at
    drain.paused_at = None
    drain.keep_until += stood
    if drain.deadline is not None:
        drain.deadline += stood
