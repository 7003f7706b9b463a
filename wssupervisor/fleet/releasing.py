"""Shared listeners: before a cutover, censuses must show that the old workers stopped accepting.

Workers that share a socket cannot be steered. So the old ones are asked to release it while the new
ones already accept, and the reload succeeds only when censuses show that they did. If they cannot
be asked, or do not obey, nothing has changed and the reload fails.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from wssupervisor.fleet import lifecycle, seating
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.model import Policy, SlotId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import SendDrain, SendResume, Signal
from wssupervisor.fleet.state import ReleasingSockets, ReloadKind, State, Worker
from wssupervisor.plural import count

RELEASE_SECONDS = lifecycle.RELEASE_SECONDS
ACCEPTING = frozenset({WorkerState.STARTING, WorkerState.READY})


def _shared(state: State) -> str | None:
    """Return the first listener in shared mode."""
    return next(
        (listener.name for listener in state.listeners.values() if listener.shared is not None),
        None,
    )


def _old(state: State) -> list[Worker]:
    """Return workers that accept connections that only the candidate should get."""
    active = state.active
    found = [] if active is None else active.workers.values()
    return [worker for worker in found if worker.state in ACCEPTING and worker.leftover is None]


def why_not(state: State, policy: Policy) -> str | None:
    """Return why a cutover cannot succeed, if that is known before anything starts."""
    name = _shared(state)
    if name is None or policy.drain_signal is not None:
        return None
    ready = [worker for worker in _old(state) if worker.state is WorkerState.READY]
    if all(worker.releases_sockets for worker in ready):
        return None
    return (
        f"listener {name!r} is in shared mode, and the workers of generation"
        f" {ready[0].id.generation} cannot be asked to stop accepting: both releases would get new"
        " connections. Set [drain] signal to a signal at which the server closes its listener and"
        " keeps its connections, or use the library wssupervisor.worker"
    )


def needed(state: State) -> bool:
    """Whether old workers exist that have not provably released their listener."""
    reload = state.reload
    if reload is None or reload.kind is ReloadKind.START or _shared(state) is None:
        return False
    return not all(
        worker.releasing is not None and worker.releasing.holds is False for worker in _old(state)
    )


def ask(state: State, policy: Policy, now: float) -> Iterator[Action]:
    """Ask each of them once."""
    asked = [
        worker for worker in _old(state) if worker.releasing is None and worker.pid is not None
    ]
    for worker in asked:
        worker.releasing = ReleasingSockets(now)
        if worker.closes_on_request:
            yield SendDrain(worker.id, worker.releases_sockets)
        if policy.drain_signal is not None:
            yield Signal(worker.id, policy.drain_signal)
    if asked:
        fields = {"generation": asked[0].id.generation, "workers": len(asked)}
        yield Note(NoteKind.RELEASING_SOCKETS, fields)


def counted(state: State, worker: Worker, holds: AbstractSet[SlotId], began_at: float) -> None:
    """Take in the slots that a census found."""
    own = worker.releasing
    if own is not None and began_at >= own.asked_at:
        own.holds = any(state.shared(slot) for slot in worker.slots.values() if slot in holds)
        own.late = own.holds and began_at >= own.asked_at + RELEASE_SECONDS


def why_failed(state: State, policy: Policy) -> str | None:
    """Return a reason if workers were asked, had time, and still accept."""
    late = [
        worker for worker in _old(state) if worker.releasing is not None and worker.releasing.late
    ]
    if not late:
        return None
    number, which = late[0].id.generation, ", ".join(str(worker.id.index) for worker in late)
    workers = f"worker {which}" if len(late) == 1 else f"workers {which}"
    how = "" if policy.drain_signal is None else f" by {policy.drain_signal} ([drain] signal)"
    return (
        f"{workers} of generation {number} still listened on {_shared(state)!r}"
        f" {RELEASE_SECONDS:g} s after the request{how} to stop accepting: on a shared listener"
        f" both releases would get new connections. Generation {number} keeps serving. Make the"
        " server close its listener when it is asked"
    )


def waits_for(state: State) -> str:
    which = [
        worker
        for worker in _old(state)
        if worker.releasing is None or worker.releasing.holds is not False
    ]
    return f"{count(len(which), 'old worker')} to stop accepting"


def cancel(state: State, now: float) -> Iterator[Action]:
    """The reload failed: workers that released the listener are replaced, others keep serving."""
    for worker in _old(state):
        own = worker.releasing
        if own is None:
            continue
        if own.holds is False:
            reason = "it released its listener for a reload that failed"
            yield from lifecycle.mark_stalled(worker, state.policy, reason, now)
            yield from seating.unseat(state, worker, now)
            continue
        worker.releasing = None
        if worker.closes_on_request:
            yield SendResume(worker.id)
