"""Every decision about generations: one event in, the actions that follow from it out.

A step (`Fleet.handle`) has two halves. First the event changes the state, with one case for each
event class (`worker_events` has those of workers). An event is a fact: it is accepted unless its
subject is gone. Then `_settle` examines the whole state and acts on it. So each condition is
checked in one place, and not in every case that can make it true. The order within `_settle` is
part of the design: time, stalls, the attempt under way, the table, and only then what relies on the
table (respawns, sweepers, closes, the end of a generation). Requesting an action never implies that
it succeeded: only its result event does.

What always holds, and why. Names in brackets are checks of the random walks in tests/property; a
unit test holds that each of them is named here.

**One generation serves, at most one is judged** [one_active_and_one_starting_at_most]. A
generation starts for `state.reload` only, and `reloading.why_busy` refuses an attempt while there
is another. `reloading.fail` and `reloading.cut_over` are the only ways to clear `state.reload`,
and both take the candidate out of `starting`. `cut_over` makes the candidate active and the old
generation draining in one step, so no event is handled between the two.

**The evidence is what `[ready] by` names** [a_worker_is_ready_only_by_what_ready_by_names].
`lifecycle.ready` has two callers: the case of a worker's word or a passed probe, after
`proof.proves`, and a spawn if readiness is a delay. `end_drain` makes ready only workers that were
ready before.

**A cutover is earned, then made, then reported** [check_cutover]. The phase `cutting` begins when
every seat serves and its worker has been ready for `stable`. `reloading.settle` runs before
`apply_table.settle`, so the same step requests the table of exactly this state. `Steer` carries
the candidate's workers and slots [carries_its_candidate]: a worker that bound the address itself
makes it fail. `cut_over` runs on `Steered` of that epoch only; the answer, the note and the drain
of the old generation follow it, so none of them can be true without the table. The table and its
way of balancing come from one policy, that of the generation that is steered to [check_balance].

**A failure is final** [failed_reloads_stay_failed, only_what_was_asked_for_is_run]. Before
`cutting` no table names a slot of the candidate, so discarding the candidate is enough. From
`cutting` on only `SteerFailed` fails the attempt (no deadline, no disconnected requester, no
stop), because the table may be in force already. A release that is resolved late finds another
attempt or none: numbers of attempts and generations never repeat.

**A failed attempt touches no other generation** [check_failed_reload]. `fail` ends workers of the
candidate alone. A generation that was to be rolled back to keeps draining
(`draining.keep_draining`). Workers that were asked to release a shared socket and still have it
are taken back.

**The table in force is known, or known to be unknown** [steering_is_what_the_fleet_takes_it_for].
One table at a time is in flight, numbered by epoch. `current` changes with the answer to that
epoch; an older answer changes nothing. A refused table is tried again after a pause, not in the
same step. After a death of the supervisor `current` is None, and the last table asked for is
attached again.

**New connections go to the best there is** [a_ready_worker_is_preferred_to_one_that_is_not,
a_worker_that_pauses_is_preferred_to_none, steering_names_only_slots_that_are_or_will_be_served].
`steering._places` prefers workers that serve, then those that pause, then those that stall, then
seats whose next worker will serve the queue. It reads seats of the generation that serves, and of
no other. `apply_table.settle` compares the result with the table in force after every event. A
ready worker that two censuses in a row find without its slots [worker_closes_its_listeners] loses
its seat as if it had stalled.

**Each queue is served, and by one worker** [look, check_spawns]. `steering.orphans` finds every
queue that neither a worker nor a seat's next worker will empty. `seating.settle` starts a sweeper
for it, unless the last sweeper failed (then after a pause) or too many of them accept nothing. A
new worker gets free slots: no worker, seat or other process has them, they were seen empty since
their last holder left, and no handshake that began on them is pending. Workers share slots only if
none is free.

**A worker with connections ends at a limit, not before** [check_signals, check_nothing_comes].
`lifecycle.stop` is the one way to end a worker. `pass_time` calls it when two censuses proved zero
and `keep` is over, or when a limit that an operator set has passed; a pause, or a rollback that
may need the worker, holds up both. Every other caller ends a worker that the operator gave no more
time (not ready, or unresponsive, for longer than configured; a stop) or that serves no client: a
failed candidate (only in shared mode can it have accepted any), a leftover that serves nothing, a
stalled sweeper without connections, a replacement that is not needed any longer
[check_ended_unused: until a replacement is ready, the table names the slots of the worker that it
is to replace]. Zero needs all of `nothing_comes`: no table, current or in flight, names the slot;
its queue is empty; and the handshakes that were pending when a table ceased to name it are over. A
census that began before the drain proves nothing about it. `census_pace` decides when to count,
which can make an end later and never wrong.

**Stopping is final** [a_worker_that_was_signalled_stays_stopping]. Whatever changes a worker's
state requires a state before, itself or in its caller: `ready` requires `starting`; `end_drain`,
`mark_stalled` and `accepts` require ready, draining or stalled. A seat forgets a worker before the
worker is stopped.

**A pause is not a death, and clients cannot start processes at will**
[a_worker_is_reported_stalled_once_until_it_accepts, a_stall_costs_one_process_per_seat_or_queue].
`stalled_since` ends with an accept, or with the main process, so a stall is reported once. A seat
gets a replacement only while the worker that gave it up before has gone, with growing pauses; a
queue gets a sweeper only while it has none.

**The emptiest makes room** [check_cut_short]. `capacity.end_emptiest` takes draining generations
in the order of `draining.emptiest`: proven empty first, then by connections, never a paused one.
It closes connections only if the operator allowed it, and as late as it can: after the cutover if
there is a slot to start in. So a bad release costs no connection.

**Each request gets one answer** [every_request_is_answered_at_most_once,
a_requester_that_left_is_not_answered]. A request that waits is kept in one place (the attempt, the
stop, or the list of a leave) and is removed from it with its answer or its requester. Every other
request is answered in the step that takes it in.

**Out of rotation is that and no more** [check_asks_to_leave]. Leave and join change
`state.out_of_rotation` and what workers were asked for it; no decision about generations, seats or
tables reads either. Workers are asked to close after the lead, and again only a pause after the
last round, or when what they were asked has become void.

**Old news is no news**. Every result names what it is about: a worker by its incarnation, a table
by its epoch, a release by its attempt. If that subject is gone, or its state gives the result no
meaning, the event is ignored.

**Time wakes the loop for a reason** [check_deadline]. Each `deadlines` stands beside the function
that acts at these instants, under the same conditions. A past instant at which nothing changes
would keep the loop spinning; a missing one would let a limit pass unnoticed.

**The state is all there is** [the_snapshot_is_the_fleet, it_can_always_be_shown]. It is plain
data: workers, slots and generations refer to each other by id. `snapshot` takes its shape from the
annotations, so no field can be forgotten, and `view` is defined on every state. A supervisor may
be replaced between any two actions: the state is saved before the actions of its step, and
`resuming` repeats those that may not have been carried out. So each order may arrive twice, and
the second must be harmless.

**In the end it rests** [teardown]. With workers that obey and clients that leave, one generation
serves with every seat filled, every other slot is free, every queue empty and every request
answered; or no process is left, and the listeners are steered to their parking slots.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import assert_never

from wssupervisor.fleet import (
    apply_table,
    causes,
    census_pace,
    draining,
    failing,
    leaving,
    lifecycle,
    reloading,
    resuming,
    rollback,
    seating,
    stall,
    steering,
    stopping,
    worker_events,
)
from wssupervisor.fleet.actions import Action, Answer, Failed, Scaled
from wssupervisor.fleet.events import (
    DrainLimited,
    DrainPaused,
    DrainResumed,
    Event,
    JoinRequested,
    LeaveRequested,
    Reexecuted,
    ReleaseRefused,
    ReleaseResolved,
    ReloadRequested,
    Request,
    RequesterGone,
    RollBackRequested,
    ScaleRequested,
    SlotsReordered,
    StartRequested,
    Steered,
    SteerFailed,
    StopRequested,
    TimePassed,
)
from wssupervisor.fleet.model import GenerationState, Listener, Policy, RequestId
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.state import ReloadPhase, Scale, SlotWatch, State, Verdict
from wssupervisor.fleet.view import FleetView, view
from wssupervisor.fleet.worker_events import WorkerEvent


class Fleet:
    """All generations of one instance. Not thread-safe; `now` is monotonic and never goes back."""

    def __init__(self, listeners: Iterable[Listener], now: float = 0.0) -> None:
        by_name = {listener.name: listener for listener in listeners}
        self.state = State(listeners=by_name, started_at=now)
        for listener in by_name.values():
            self.state.slots |= {slot: SlotWatch() for slot in listener.slots}

    def handle(self, event: Event, now: float) -> list[Action]:
        """Apply one event; return the actions that follow, in the order to carry them out."""
        if self.state.quit:
            return self._too_late(event)
        actions = list(self._take_in(event, now))
        actions += self._settle(now)
        for action in actions:
            if isinstance(action, Note):
                self.state.counters.take_in(action)
        return actions

    @staticmethod
    def _too_late(event: Event) -> list[Action]:
        if isinstance(event, Request) and (event.request is not None):
            return [Answer(event.request, Failed("not-running", "the instance has stopped"))]
        return []

    def next_deadline(self) -> float | None:
        """The instant at which `TimePassed` would change something, if there is one."""
        return None if self.state.quit else min(self._deadlines(), default=None)

    @property
    def policy(self) -> Policy:
        """The policy in force: that of the generation that serves."""
        return self.state.policy

    @property
    def verdict(self) -> Verdict | None:
        """How the last reload or rollback ended."""
        return self.state.verdict

    def view(self, now: float) -> FleetView:
        """Return the read-only view of the fleet, for `status` and for the runtime."""
        return view(self.state, now)

    def census_need(self) -> census_pace.Need:
        """What the fleet needs the next census for."""
        return census_pace.need(self.state)

    def _take_in(self, event: Event, now: float) -> Iterable[Action]:
        state = self.state
        if isinstance(event, WorkerEvent):
            return worker_events.take_in(state, event, now)
        match event:
            case StartRequested(release=release, policy=policy):
                return reloading.start(state, release, policy, now)
            case ReloadRequested():
                return reloading.request(state, event, now)
            case RollBackRequested():
                return rollback.request(state, event, now)
            case ScaleRequested(request=request, workers=workers):
                return self._scale_requested(request, workers)
            case ReleaseResolved(reload=reload, release=release, policy=policy):
                if reloading.resolving(state, reload):
                    return reloading.resolved(state, release, policy, now)
            case ReleaseRefused(reload=reload, reason=reason):
                if reloading.resolving(state, reload):
                    return reloading.fail(state, reason, now)
            case RequesterGone(request=request):
                return self._requester_gone(request, now)
            case DrainLimited(request=request, generation=number, within=within):
                return draining.limit(state, request, number, within, now)
            case DrainPaused(request=request, generation=number):
                return draining.pause(state, request, number, now)
            case DrainResumed(request=request, generation=number):
                return draining.resume(state, request, number, now)
            case LeaveRequested():
                return leaving.leave(state, event, now)
            case JoinRequested():
                return leaving.join(state, event, now)
            case StopRequested(request=request, within=within):
                return stopping.request(state, request, within, now)
            case Steered(epoch=epoch):
                return apply_table.steered(state, epoch, now)
            case SteerFailed(epoch=epoch, reason=reason):
                return apply_table.failed(state, epoch, reason, now)
            case SlotsReordered(listener=name, slots=slots):
                before = state.listeners[name]
                state.listeners[name] = replace(before, slots=steering.with_parking(state, slots))
            case Reexecuted():
                return resuming.resume(state, event)
            case TimePassed():
                pass
            case _:
                assert_never(event)
        return []

    def _settle(self, now: float) -> Iterator[Action]:
        """Yield the actions that the current state requires; steering before what relies on it."""
        state = self.state
        yield from self._pass_time(now)
        yield from stall.settle(state, now)
        yield from reloading.settle(state, now)
        yield from seating.scale(state, now)
        yield from apply_table.settle(state, now)
        if state.stop is not None:
            yield from stopping.settle(state, state.stop, now)
            return
        yield from seating.settle(state, now)
        yield from leaving.settle(state, now)
        yield from self._retire(now)

    # -- time ---------------------------------------------------------------------------------

    def _pass_time(self, now: float) -> Iterator[Action]:
        for worker in list(self.state.workers()):
            yield from lifecycle.pass_time(worker, self.state.policy, now)
            given_up_at = lifecycle.given_up_at(worker, self.state.policy)
            if given_up_at is not None and now >= given_up_at:
                yield from failing.replace_unresponsive(self.state, worker, now)
            if worker.ready_by is not None and now >= worker.ready_by:
                policy = self.state.generations[worker.id.generation].policy
                reason = causes.why_late(worker, policy)
                yield from failing.not_ready(self.state, worker, reason, now)

    def _deadlines(self) -> Iterator[float]:
        state = self.state
        for worker in state.workers():
            yield from lifecycle.deadlines(worker, state.policy)
            if worker.ready_by is not None:
                yield worker.ready_by
        yield from apply_table.deadlines(state)
        if state.stop is not None:
            yield from stopping.deadlines(state, state.stop)
            return
        yield from reloading.deadlines(state)
        yield from stall.deadlines(state)
        yield from seating.deadlines(state)
        yield from leaving.deadlines(state)

    # -- the end of a generation -----------------------------------------------------------------

    def _retire(self, now: float) -> Iterator[Action]:
        finished = (GenerationState.DRAINING, GenerationState.FAILED)
        for generation in list(self.state.generations.values()):
            if generation.state in finished and not generation.workers:
                del self.state.generations[generation.number]
                if generation.state is GenerationState.DRAINING:
                    yield draining.over(generation, now)

    # -- requests -----------------------------------------------------------------------------

    def _requester_gone(self, request: RequestId, now: float) -> Iterable[Action]:
        state = self.state
        if state.stop is not None and state.stop.request == request:
            state.stop.request = None
        leaving.requester_gone(state, request)
        reload = state.reload
        if reload is None or reload.request != request:
            return []
        reload.request = None
        if reload.phase is ReloadPhase.CUTTING:
            return []
        return reloading.fail(state, "cancelled: its requester disconnected", now)

    def _scale_requested(self, request: RequestId, workers: int) -> Iterator[Action]:
        state = self.state
        busy = reloading.why_busy(state)
        if busy is not None:
            yield Answer(request, Failed("busy", busy))
            return
        before, written = state.workers_wanted(state.policy), state.policy.workers
        state.scaled = Scale(workers, instead_of=written) if workers != written else None
        yield Note(
            NoteKind.SCALED, {"workers": workers, "before": before, "workers_configured": written}
        )
        yield Answer(request, Scaled(workers, before))
