"""Out of the load balancer and back in. Nothing is refused meanwhile, and no worker is ended.

Steering, reloads and respawns work as usual. After the lead, when clients that reconnect are sent
to other hosts, workers with the library are asked to close their connections. They are asked
again while connections are left or arrive. The connections of other workers are waited for.
"""

from collections.abc import Iterator
from math import inf, isinf

from wssupervisor.fleet.actions import Action, Answer, Failed, Joined, Left
from wssupervisor.fleet.events import CensusTaken, JoinRequested, LeaveRequested
from wssupervisor.fleet.lifecycle import EMPTY_ROUNDS
from wssupervisor.fleet.model import RequestId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import AskToLeave, SendStay
from wssupervisor.fleet.state import OutOfRotation, State, Worker
from wssupervisor.plural import count

ASK_AGAIN_SECONDS = 10.0
"""Seconds from the end of one round of closes to the next, so that a client that the load balancer
keeps sending here is not closed in a loop."""
CLOSERS = frozenset({WorkerState.READY, WorkerState.STALLED, WorkerState.DRAINING})


def leave(state: State, asked: LeaveRequested, now: float) -> Iterator[Action]:
    """Go out, or stay out with new limits. The lead counts from when the instance went out."""
    busy = _why_not(state)
    if busy is not None:
        yield Answer(asked.request, Failed("busy", busy))
        return
    out = state.out_of_rotation
    if out is None:
        out = state.out_of_rotation = OutOfRotation(
            now, asked.by.user or asked.by.via, now + asked.lead
        )
        fields = {"lead": asked.lead, "connections": connections(state)}
        yield Note(NoteKind.LEFT, {**fields, **asked.by.fields()})
    out.asks_from = out.since + asked.lead
    out.deadline = None if isinf(asked.within) else now + asked.within
    out.empty_rounds, out.emptied_at = 0, None
    if asked.waits:
        out.waiting.append(asked.request)
    else:
        yield Answer(asked.request, _outcome(state, out, now, empty=False))


def join(state: State, asked: JoinRequested, now: float) -> Iterator[Action]:
    """Come back in. Connections that are not closed yet may stay."""
    busy = _why_not(state)
    if busy is not None:
        yield Answer(asked.request, Failed("busy", busy))
        return
    out = state.out_of_rotation
    if out is None:
        yield Answer(asked.request, Joined(None))
        return
    yield from give_up(state, "the instance joined its load balancer again")
    state.out_of_rotation = None
    for worker in state.workers():
        if (
            worker.asked_until is not None
            and worker.closes_on_request
            and worker.closing_by is None
        ):
            yield SendStay(worker.id)
        worker.asked_until = None
    seconds = round(now - out.since, 3)
    yield Note(NoteKind.JOINED, {"seconds": seconds, **asked.by.fields()})
    yield Answer(asked.request, Joined(seconds))


def give_up(state: State, why: str) -> Iterator[Action]:
    """Another request replaces the leave: answer the requesters that wait."""
    if state.out_of_rotation is not None:
        for request in _waiting(state.out_of_rotation):
            yield Answer(request, Failed("operation-failed", f"stopped waiting: {why}"))


def requester_gone(state: State, request: RequestId) -> None:
    """Forget a requester that waits. The instance stays out."""
    if state.out_of_rotation is not None and request in state.out_of_rotation.waiting:
        state.out_of_rotation.waiting.remove(request)


def counted(state: State, census: CensusTaken, now: float) -> Iterator[Action]:
    """Take in one census. Before the lead is over, zero proves nothing: clients may still come."""
    out = state.out_of_rotation
    if out is None or state.stop is not None or census.began_at < out.asks_from:
        return
    empty = not census.unattributed and not any(census.counts.values())
    waiting = any(watch.queued for watch in state.slots.values())
    out.empty_rounds = out.empty_rounds + 1 if empty and not waiting else 0
    if out.empty_rounds < EMPTY_ROUNDS or out.emptied_at is not None:
        return
    out.emptied_at, out.deadline = now, None
    yield Note(NoteKind.EMPTIED, {"seconds": round(now - out.since, 3)})
    for request in _waiting(out):
        yield Answer(request, _outcome(state, out, now, empty=True))


def settle(state: State, now: float) -> Iterator[Action]:
    """Ask workers whose time has come, and answer requesters that have reached their limit."""
    out = state.out_of_rotation
    if out is None:
        return
    for worker in state.workers():
        if now >= _ask_at(out, worker):
            over = state.policy.close_over
            if out.deadline is not None:
                over = max(0.0, min(over, out.deadline - now))
            worker.asked_until = now + over
            yield AskToLeave(worker.id, over)
    if out.deadline is not None and now >= out.deadline:
        yield from _limit_passed(state, out, now)


def deadlines(state: State) -> Iterator[float]:
    """Return the instants at which `settle` would act."""
    out = state.out_of_rotation
    if out is not None:
        yield from (at for at in (_ask_at(out, worker) for worker in state.workers()) if at < inf)
        if out.deadline is not None:
            yield out.deadline


def connections(state: State) -> int:
    return sum(worker.connections for worker in state.workers())


def waited_for(state: State) -> int:
    """Return the number of connections of workers that cannot be asked to close them."""
    return sum(worker.connections for worker in state.workers() if not worker.closes_on_request)


def _why_not(state: State) -> str | None:
    if state.stop is not None:
        return "the instance is stopping"
    if state.active is None:
        return "the instance has not started yet"
    return None


def _ask_at(out: OutOfRotation, worker: Worker) -> float:
    """Return when the worker is next asked to close its connections; `inf`: not at present."""
    if not worker.closes_on_request or worker.state not in CLOSERS or worker.closing_by is not None:
        return inf
    if not worker.connections and not worker.reported:
        return inf
    if worker.asked_until is None:
        return out.asks_from
    return max(out.asks_from, worker.asked_until + ASK_AGAIN_SECONDS)


def _limit_passed(state: State, out: OutOfRotation, now: float) -> Iterator[Action]:
    out.deadline = None
    left, others = connections(state), waited_for(state)
    yield Note(NoteKind.LEAVE_LIMIT, {"seconds": round(now - out.since, 3), "connections": left})
    which = f", {others} of them with workers that cannot be asked to close" if others else ""
    if now < out.asks_from:
        lead = out.asks_from - now
        which += f". No worker is asked to close connections until the lead ends, in {lead:.3g} s"
    text = (
        f"{count(left, 'connection')} left at the limit{which}. The instance stays out of its load"
        " balancer. Run `wssctl leave` to keep waiting, or `wssctl join` to put it back"
    )
    for request in _waiting(out):
        yield Answer(request, Failed("operation-failed", text))


def _waiting(out: OutOfRotation) -> list[RequestId]:
    """Return the requesters that wait, and forget them."""
    found, out.waiting = out.waiting, []
    return found


def _outcome(state: State, out: OutOfRotation, now: float, *, empty: bool) -> Left:
    return Left(connections(state), empty, now - out.since, max(0.0, out.asks_from - now))
