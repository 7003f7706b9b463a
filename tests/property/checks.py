"""What must always hold of the fleet: checks of a step, and invariants between steps.

Each invariant stands here once.
"""

import json
from collections import Counter
from dataclasses import dataclass
from math import inf

from hypothesis.stateful import RuleBasedStateMachine, invariant

from wssupervisor.fleet import draining, leaving, stall, steering
from wssupervisor.fleet.actions import Action, PendingCutover, Spawn, Steer
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import Event, LibraryDisconnected, MainProcessEnded, Recovered
from wssupervisor.fleet.model import GenerationState, ReadyBy, SlotId, Table, WorkerId, WorkerState
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import (
    AskToClose,
    AskToLeave,
    Kill,
    Order,
    SendDrain,
    SendResume,
    SendStay,
    Signal,
)
from wssupervisor.fleet.snapshot import dump, load
from wssupervisor.fleet.state import Generation, ReloadKind, ReloadPhase, State, Worker
from wssupervisor.fleet.view import view

from .world import Process, World

ACCEPTORS = (WorkerState.STARTING, WorkerState.READY, WorkerState.DRAINING)
SHARED = 200
"""The one slot of the second listener, where that is in shared mode."""


@dataclass(frozen=True)
class Death:
    """`done`: how many of the step's actions are performed before; `happened`: which of those whose
    results are still to come; `loses`: which of the workers die with it."""

    done: int
    happened: list[bool]
    loses: list[bool]
    channels: bool


def done(actions: list[Action]) -> list[Action]:
    """What a worker or the kernel notices of them."""
    return [one for one in actions if isinstance(one, Order | Spawn | Steer)]


def named_by(table: Table | None) -> set[SlotId]:
    return set() if table is None else {s for slots in table.weights.values() for s in slots}


class Checks(RuleBasedStateMachine):
    """Knows the fleet, and the world with all that really happened. Rules are those of its heir."""

    fleet: Fleet
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.requests: dict[int, str] = {}
        self.left: set[int] = set()
        self.failed_generations: set[int] = set()
        self.limits: dict[int, float] = {}
        self.last: list[Action] = []
        self.paused: set[int] = set()
        self.stop_asked = False
        self.deaths = 0
        self.lead = 0.0
        self.asked: dict[WorkerId, float] = {}
        self.cutting: tuple[int, Table | None] | None = None
        self.proven: set[WorkerId] = set()
        """Workers that did what `[ready] by` asks for."""
        self.dies: Death | None = None
        """How the supervisor dies in the next step that has actions."""
        self.saved: State | None = None
        """The fleet as it was last read back from a snapshot, which takes longer than comparing."""

    def waiting(self) -> list[int]:
        return [
            one for one in self.requests if one not in self.world.answers and one not in self.left
        ]

    # -- a step --------------------------------------------------------------------------------

    def check_cut_short(self, note: Note, known_empty: set[int]) -> None:
        """Whatever makes room ends the emptiest first: an empty one costs no connection."""
        number = int(str(note.fields["generation"]))
        assert number not in self.paused
        if number in known_empty:
            return  # it needs no limit to be ended
        self.limits[number] = self.world.now
        for other in draining.oldest(self.fleet.state):
            if draining.is_ending(other, self.world.now) or draining.paused(other):
                continue
            assert not draining.empty(other)
            assert draining.connections(other) >= int(str(note.fields["connections"]))

    def check_deadline(self) -> None:
        deadline = self.fleet.next_deadline()
        assert deadline is None or deadline > self.world.now, "a deadline that does nothing"

    def check_failed_reload(self, actions: list[Action], undisturbed: list[Action]) -> None:
        """A failed or cancelled reload sends nothing to another generation's worker.

        The event that it failed at may do that, with or without a reload.
        """
        verdict = self.fleet.state.verdict
        assert verdict is not None
        assert not verdict.ok
        failed = self.fleet.state.generations.get(verdict.generation or 0)
        if failed is not None and failed.state is GenerationState.DRAINING:
            assert verdict.kind is ReloadKind.ROLLBACK
            for action in actions:
                if isinstance(action, Signal | Kill):
                    assert failed.workers[action.worker].drain is None, "it keeps draining"
        elif verdict.generation is not None:
            self.failed_generations.add(verdict.generation)
        if failed is not None:
            slots = {slot for seat in failed.seats for slot in seat.slots.values()} - {SHARED}
            assert not named_by(self.fleet.state.steering.in_flight) & slots, "it may still land"
        if self.fleet.state.stop is not None:
            return
        if verdict.generation is None:
            assert done(actions) == undisturbed
            return
        for action in done(actions):
            match action:
                case Steer(table=table):
                    due = [one for one in undisturbed if isinstance(one, Steer)]
                    assert table in [one.table for one in due]
                case Spawn(worker=worker_id):
                    assert worker_id.generation != verdict.generation
                case Signal(worker=worker_id) | Kill(worker=worker_id):
                    assert worker_id.generation == verdict.generation or action in undisturbed

    def check_cutover(self, event: Event, actions: list[Action]) -> None:
        """A generation takes over ready and stable, and says so when steering is in force."""
        state = self.fleet.state
        candidate = state.candidate
        if candidate is not None and any(isinstance(one, Steer) for one in actions):
            own = {slot for seat in candidate.seats for slot in seat.slots.values()} - {SHARED}
            named = named_by(state.steering.in_flight) - {SHARED}
            again = self.cutting == (candidate.number, state.steering.in_flight)
            if again and isinstance(event, Recovered):
                pass  # as it was asked for; what has happened since then comes after it
            elif state.reload is not None and state.reload.phase is ReloadPhase.CUTTING:
                assert named <= own
                self.cutting = (candidate.number, state.steering.in_flight)
                for seat in candidate.seats:
                    assert seat.worker is not None
                    assert steering.serves(candidate, seat)
                    ready_at = candidate.workers[seat.worker].ready_at
                    assert ready_at is not None
                    assert self.world.now - ready_at >= candidate.policy.stable
                self.carries_its_candidate(actions, candidate)
            else:
                assert not named & own
                assert all(one.cutover is None for one in actions if isinstance(one, Steer))
        for action in actions:
            if isinstance(action, Note) and action.kind is NoteKind.CUTOVER:
                assert (action.fields["generation"], self.world.table) == self.cutting
                self.paused.discard(int(str(action.fields["generation"])))

    def carries_its_candidate(self, actions: list[Action], candidate: Generation) -> None:
        """Before a cutover the runtime looks at each of the candidate's workers, on its slots."""
        reload = self.fleet.state.reload
        assert reload is not None
        (steer,) = [one for one in actions if isinstance(one, Steer)]
        slots = {one: worker.slots for one, worker in candidate.workers.items()}
        assert steer.cutover == PendingCutover(reload.id, slots)

    def check_balance(self, event: Event, actions: list[Action]) -> None:
        """Clients are balanced as the generation that serves them is configured."""
        state = self.fleet.state
        cutting = state.reload is not None and state.reload.phase is ReloadPhase.CUTTING
        serving = state.candidate if cutting else state.active
        if serving is None or state.stop is not None or isinstance(event, Recovered):
            return
        for action in actions:
            if isinstance(action, Steer):
                assert action.table.by_client == serving.policy.by_client

    def check_signals(self, actions: list[Action], told: set[WorkerId]) -> None:
        """No worker with live connections is signalled before a limit that the operator set.

        `told`: those that had SIGTERM before.
        """
        for action in actions:
            if not isinstance(action, Signal | Kill | AskToClose):
                continue
            process = self.world.processes[action.worker]
            generation = self.fleet.state.generations.get(action.worker.generation)
            if self.fleet.state.stop is not None or generation is None:
                continue
            if generation.state is GenerationState.FAILED or action.worker in told:
                continue
            one = generation.workers[action.worker]
            if isinstance(action, Signal) and action.name == generation.policy.drain_signal:
                continue
            assert generation.number not in self.paused
            if one.reason is not None and ("not ready" in one.reason or "accepted" in one.reason):
                continue  # ready.timeout is such a limit
            if one.reason is not None and "no heartbeat" in one.reason:
                continue  # watchdog.replace_after is one, too
            if one.leftover is not None and not one.leftover.serves:
                continue  # its connections went with its main process
            policy = self.fleet.state.policy
            limit = self.limits.get(generation.number, inf)
            if one.drain is not None:
                limit = min(limit, one.drain.since + policy.drain_timeout)
            if isinstance(action, AskToClose):
                limit -= policy.close_over  # that they may take, and be over by the limit
            if self.world.now >= limit:
                continue
            if one.drain is None and generation.state is GenerationState.DRAINING:
                # Spawned for a roll back that failed: nothing was ever steered to it.
                own = set(process.slots.values()) - {SHARED}
                assert not own & named_by(self.world.table)
                continue
            assert process.connections == 0
            if one.drain is None:
                self.check_ended_unused(process)
                continue
            assert self.world.now >= one.drain.keep_until
            if one.sweeper and one.stalled_since is not None:
                watches = [self.fleet.state.slots[slot] for slot in process.slots.values()]
                limit = stall.patience(policy)
                if any(stall.stalled(watch, limit, self.world.now) for watch in watches):
                    continue  # it has had its time: the next one may do better
            self.check_nothing_comes(one, process)

    def check_nothing_comes(self, one: Worker, process: Process) -> None:
        """No client can become this worker's."""
        for slot in process.slots.values():
            silent = one.reason is not None
            if self.world.shared(slot):
                assert silent or not self.world.listens(process, slot)
                continue
            if not silent:
                assert slot not in named_by(self.world.table)
            assert self.world.queues[slot] == 0
            alone = sum(slot in other.slots.values() for other in self.world.processes.values())
            pending = any(slot == begun for begun, _ in self.world.handshakes)
            assert alone > 1 or not pending

    def check_ended_unused(self, process: Process) -> None:
        """It was to replace a worker that accepts again: nothing could ever come to it."""
        one = self.fleet.state.worker(process.worker)
        assert one is not None
        assert one.ready_at is None
        for slot in process.slots.values():
            assert slot not in named_by(self.world.table)
            assert self.world.queues[slot] == 0
            assert all(begun != slot for begun, _ in self.world.handshakes)

    def check_asks_to_leave(self, event: Event, actions: list[Action]) -> None:
        """Only while it is out, after the lead, and not again before a round is over, unless what
        it was asked has become void."""
        out = self.fleet.state.out_of_rotation
        if isinstance(event, LibraryDisconnected | MainProcessEnded):
            self.asked.pop(event.worker, None)
        for action in actions:
            if isinstance(action, SendDrain | SendResume | SendStay):
                self.asked.pop(action.worker, None)
            if not isinstance(action, AskToLeave) or isinstance(event, Recovered):
                continue  # which repeats what was asked before
            assert out is not None
            assert self.world.now >= out.since + self.lead
            one = self.fleet.state.worker(action.worker)
            assert one is not None
            assert one.state is not WorkerState.STOPPING
            assert one.closing_by is None
            since = self.asked.get(action.worker, -inf)
            assert self.world.now >= since + leaving.ASK_AGAIN_SECONDS
            self.asked[action.worker] = self.world.now

    def check_spawns(self, actions: list[Action]) -> None:
        """At most one accepting worker per slot, unless there is no free one to give."""
        state = self.fleet.state
        for action in actions:
            if not isinstance(action, Spawn):
                continue
            for name, slot in action.slots.items():
                acceptors = [
                    one
                    for one in state.workers()
                    if one.state in ACCEPTORS and slot in one.slots.values()
                ]
                if self.world.shared(slot):
                    continue
                if action.worker.incarnation == 1 and self.begins(action.worker.generation):
                    assert not state.slots[slot].occupied
                if len(acceptors) > 1:
                    assert not steering.free_slots(state, state.listeners[name])

    def begins(self, generation: int) -> bool:
        """It is a reload's, and just starts: its workers get free slots."""
        state = self.fleet.state
        return state.active is not None and state.generations[generation] is state.candidate

    # -- what always holds --------------------------------------------------------------------

    @invariant()
    def one_active_and_one_starting_at_most(self) -> None:
        state = self.fleet.state
        assert len(state.in_state(GenerationState.ACTIVE)) <= 1
        assert len(state.in_state(GenerationState.STARTING)) <= 1

    @invariant()
    def a_worker_is_ready_only_by_what_ready_by_names(self) -> None:
        for one in self.fleet.state.workers():
            if one.ready_at is not None and self.world.policy.ready_by is not ReadyBy.DELAY:
                assert one.id in self.proven

    @invariant()
    def only_what_was_asked_for_is_run(self) -> None:
        releases = {one.release.directory for one in self.fleet.state.generations.values()}
        assert "/srv/stale" not in releases

    @invariant()
    def steering_is_what_the_fleet_takes_it_for(self) -> None:
        own = self.fleet.state.steering
        unknown = own.current is None and own.retry_at is not None
        assert own.in_flight is not None or unknown or own.current == self.world.table

    @invariant()
    def a_worker_that_was_signalled_stays_stopping(self) -> None:
        for process in self.world.processes.values():
            one = self.fleet.state.worker(process.worker)
            if one is not None and process.told_to_end:
                assert one.state is WorkerState.STOPPING

    @invariant()
    def a_worker_is_reported_stalled_once_until_it_accepts(self) -> None:
        if self.deaths:
            return  # a note may be lost with the supervisor
        silent: set[str] = set()
        for note in self.world.notes:
            who = str(note.fields.get("worker"))
            match note.kind:
                case NoteKind.WORKER_STALLED:
                    queue = "queue" in str(note.fields["reason"])
                    assert not (queue and who in silent)
                    silent.add(who)
                case NoteKind.WORKER_ACCEPTS | NoteKind.MAIN_PROCESS_ENDED:
                    silent.discard(who)

    @invariant()
    def a_stall_costs_one_process_per_seat_or_queue(self) -> None:
        gave_way = Counter(
            (one.id.generation, one.id.index)
            for one in self.fleet.state.workers()
            if one.gave_way_at is not None
        )
        assert all(count == 1 for count in gave_way.values())
        sweepers = Counter(
            one.sweeps for one in self.fleet.state.workers() if one.sweeper and one.leftover is None
        )
        assert all(count == 1 for count in sweepers.values())

    @invariant()
    def a_worker_that_pauses_is_preferred_to_none(self) -> None:
        """Clients who wait do so where a worker is that will accept, not where none is yet."""
        state = self.fleet.state
        active, own = state.active, state.steering
        if active is None or state.stop is not None:
            return
        if own.retry_at is not None or own.in_flight is not None:
            return
        living = {
            slot
            for one in active.workers.values()
            if one.state is WorkerState.READY
            for slot in one.slots.values()
        }
        assert not living or named_by(own.current) <= living | {SHARED}

    @invariant()
    def failed_reloads_stay_failed(self) -> None:
        active = self.fleet.state.active
        assert active is None or active.number not in self.failed_generations

    @invariant()
    def steering_names_only_slots_that_are_or_will_be_served(self) -> None:
        state = self.fleet.state
        own = state.steering
        active = state.active
        if active is None or state.stop is not None or own.retry_at is not None:
            return
        table = own.in_flight or own.current
        assert table is not None
        if own.in_flight is not None and own.in_flight != steering.wanted_table(state):
            return  # what is asked for is overtaken: its answer will be followed by the right one
        serving = [active, state.candidate] if own.in_flight is not None else [active]
        good = set()
        for generation in serving:
            if generation is None:
                continue
            for seat in generation.seats:
                one = None if seat.worker is None else generation.workers[seat.worker]
                if (
                    one is None
                    or steering.serves(generation, seat)
                    or one.state in (WorkerState.STARTING, WorkerState.STOPPING)
                    or not any(steering.serves(generation, other) for other in generation.seats)
                ):
                    good |= set(seat.slots.values())
                    if seat.stands_in_for is not None:
                        good |= set(generation.workers[seat.stands_in_for].slots.values())
        assert named_by(table) - {SHARED} <= good - {SHARED}

    @invariant()
    def a_ready_worker_is_preferred_to_one_that_is_not(self) -> None:
        state = self.fleet.state
        active, own = state.active, state.steering
        if active is None or state.stop is not None:
            return
        if own.retry_at is not None or own.in_flight is not None:
            return
        ready = {
            slot
            for one in active.workers.values()
            if one.state is WorkerState.READY and steering.could_serve(one)
            for slot in one.slots.values()
        }
        assert not ready or named_by(own.current or steering.parked(state)) == ready

    @invariant()
    def every_request_is_answered_at_most_once(self) -> None:
        assert all(len(answers) == 1 for answers in self.world.answers.values())

    @invariant()
    def a_requester_that_left_is_not_answered(self) -> None:
        assert not self.left & set(self.world.answers)

    @invariant()
    def the_snapshot_is_the_fleet(self) -> None:
        if self.saved != self.fleet.state:
            self.saved = load(json.loads(json.dumps(dump(self.fleet)))).state
            assert self.saved == self.fleet.state

    @invariant()
    def it_can_always_be_shown(self) -> None:
        view(self.fleet.state, self.world.now)
