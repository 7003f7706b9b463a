"""Random lives of the fleet, whose promises are checked after every step (checks.py).

The machine plays kernel, clock, workers and requesters: any of them may be late, fail, lie about
being ready, hang, come back or go away at any step.
"""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from math import inf

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from wssupervisor.fleet import draining, releasing, resuming, seating, steering
from wssupervisor.fleet.actions import (
    Action,
    Answer,
    DrainChanged,
    Failed,
    Resolve,
    Scaled,
    Spawn,
    Steer,
)
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.draining import drains
from wssupervisor.fleet.events import (
    DrainLimited,
    DrainPaused,
    DrainResumed,
    Event,
    JoinRequested,
    LeaveRequested,
    LibraryConnected,
    LibraryDisconnected,
    ProbeFailed,
    ProbePassed,
    Recovered,
    Reexecuted,
    ReleaseRefused,
    ReleaseResolved,
    ReloadRequested,
    RequesterGone,
    RollBackRequested,
    ScaleRequested,
    SlotReleased,
    StartRequested,
    Steered,
    SteerFailed,
    StopRequested,
    TimePassed,
    WorkerAlive,
    WorkerCounted,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    InstanceState,
    Listener,
    Policy,
    ReadyBy,
    Release,
    WhenFull,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import AskToLeave, Order, SendStay
from wssupervisor.fleet.snapshot import dump, load
from wssupervisor.fleet.state import Generation, ReloadPhase
from wssupervisor.fleet.view import view

from .checks import SHARED, Checks, Death, done, named_by
from .world import Process, World

policies = st.builds(
    Policy,
    workers=st.integers(1, 3),
    ready_by=st.sampled_from(ReadyBy),
    ready_timeout=st.sampled_from([2.0, 10.0]),
    stable=st.sampled_from([0.0, 1.0]),
    accept_stall=st.just(2.0),
    replace_stalled=st.sampled_from([2.0, 5.0]),
    keep=st.sampled_from([0.0, 5.0]),
    drain_timeout=st.sampled_from([inf, inf, 20.0]),
    max_draining=st.integers(1, 3),
    stop_timeout=st.just(15.0),
    kill_after=st.just(5.0),
    backoff=st.just(0.5),
    backoff_max=st.just(4.0),
    drain_signal=st.sampled_from([None, None, "SIGUSR1"]),
    when_full=st.sampled_from(WhenFull),
    close_over=st.sampled_from([0.0, 4.0]),
    stop_close_over=st.sampled_from([0.0, 3.0]),
    watchdog=st.sampled_from([0.0, 2.0]),
    replace_after=st.just(6.0),
)


deaths = st.builds(
    Death,
    done=st.integers(0, 6),
    happened=st.lists(st.booleans(), max_size=6),
    loses=st.lists(st.sampled_from([False, False, True]), max_size=6),
    channels=st.booleans(),
)


class FleetMachine(Checks):
    @initialize(
        policy=policies,
        pool=st.integers(3, 9),
        listeners=st.integers(1, 2),
        backlog=st.lists(st.integers(0, 8), max_size=2),
        fair_start=st.sampled_from([True, True, True, False]),
        early=st.booleans(),
        shared=st.sampled_from([False, False, True]),
        obedient=st.booleans(),
    )
    def begin(
        self,
        policy: Policy,
        pool: int,
        listeners: int,
        backlog: list[int],
        *,
        fair_start: bool,
        early: bool,
        shared: bool,
        obedient: bool,
    ) -> None:
        named = {"ws": Listener("ws", tuple(range(100, 100 + pool)))}
        if shared:
            named["raw"] = Listener("raw", (SHARED,), shared=SHARED)
            if listeners == 1:
                del named["ws"]
            if policy.ready_by in (ReadyBy.CONNECT, ReadyBy.HTTP, ReadyBy.WEBSOCKET):
                policy = replace(policy, ready_by=ReadyBy.NOTIFY)
        elif listeners == 2:
            named["raw"] = Listener("raw", tuple(range(200, 200 + pool)))
        self.world = World(named, policy, obedient)
        self.fleet = Fleet(named.values(), self.world.now)
        for offset in backlog:
            if "ws" in named:
                self.world.queues[100 + offset % pool] += 1
        self.tell(self.world.observed())
        if early:
            self.ask_for_reload(waits=True, asked=True, timeout=5.0)
        self.tell(StartRequested(Release(("chat",), "/srv/0"), policy))
        if fair_start:
            self.let_everything_finish()

    # -- what the fleet learns -------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Time first, so that what the event causes is seen apart from what was due anyway."""
        if isinstance(event, self.world.proof):
            self.proven.add(event.worker)
        for one in (TimePassed(), event):
            state = self.fleet.state
            before = state.steering.current
            known_failed = len(self.world.notes)
            known_empty = {own.number for own in draining.oldest(state) if draining.empty(own)}
            as_it_was = self.as_it_is(one)
            actions = self.fleet.handle(one, self.world.now)
            self.check_cutover(one, actions)
            for action in actions:
                if isinstance(action, Note) and action.kind is NoteKind.DRAIN_CUT_SHORT:
                    self.check_cut_short(action, known_empty)
            death = self.dies
            if actions and death is not None and resuming.can_recover(self.fleet.state):
                self.dies = None
                self.die(death, actions)
                return
            told = {one.worker for one in self.world.processes.values() if one.told_to_end}
            self.world.take(actions)
            self.check_signals(actions, told)
            self.check_asks_to_leave(one, actions)
            if not isinstance(one, Recovered):
                self.check_spawns(actions)
            self.check_balance(one, actions)
            if isinstance(one, TimePassed):
                self.check_deadline()
            elif any(
                note.kind is NoteKind.RELOAD_FAILED for note in self.world.notes[known_failed:]
            ):
                if isinstance(one, Recovered):  # it repeats what was under way, too
                    verdict = self.fleet.state.verdict
                    assert verdict is not None
                    self.failed_generations.add(verdict.generation or 0)
                else:
                    self.check_failed_reload(actions, self.without_the_reload(as_it_was, one))
                    assert before == self.fleet.state.steering.current
            if isinstance(one, SteerFailed):
                assert not any(isinstance(action, Steer) for action in actions), "again at once"
            self.last = actions

    def die(self, death: Death, actions: list[Action]) -> None:
        """The supervisor dies in the middle of these actions, and its successor continues."""
        self.deaths += 1
        self.world.take(actions[: death.done])
        self.world.lose_supervisor(iter([*death.happened, *[False] * 100]).__next__)
        for worker, lost in zip(list(self.world.processes), death.loses, strict=False):
            if lost:
                del self.world.processes[worker]
        self.left.update(self.waiting())
        self.fleet = load(json.loads(json.dumps(dump(self.fleet))))
        known = {one.id: one.pid for one in self.fleet.state.workers()}
        assert self.world.processes.keys() <= known.keys()
        running = {one: known[one] or 5000 + at for at, one in enumerate(self.world.processes)}
        gone = {one: Exit() for one in known if one not in running}
        undone = tuple(one for one in actions if isinstance(one, Order))
        self.tell(Recovered("0.2.0", "0.1.0", running, gone, undone))
        if death.channels:
            for process in list(self.world.processes.values()):
                process.joined = False
                self.tell(LibraryDisconnected(process.worker))

    def as_it_is(self, event: Event) -> bytes | None:
        """The fleet, if a reload may fail at this event that is no instant's; a copy costs time."""
        begins = isinstance(event, StartRequested | ReloadRequested | RollBackRequested)
        if isinstance(event, TimePassed) or not (begins or self.fleet.state.reload):
            return None
        return pickle.dumps(self.fleet)

    def without_the_reload(self, as_it_was: bytes | None, event: Event) -> list[Action]:
        """What the event causes, and what is due, where the reload under way has just failed."""
        assert as_it_was is not None, "a reload failed that had not begun"
        twin: Fleet = pickle.loads(as_it_was)
        candidate = twin.state.candidate
        twin.state.reload = None
        if candidate is not None:
            was_draining = candidate.drain_since is not None
            candidate.state = GenerationState.DRAINING if was_draining else GenerationState.FAILED
        after = done(list(releasing.cancel(twin.state, self.world.now)))
        begins = isinstance(event, RollBackRequested)
        return after + done(twin.handle(TimePassed() if begins else event, self.world.now))

    # -- requesters --------------------------------------------------------------------------

    @rule(
        waits=st.booleans(),
        asked=st.booleans(),
        timeout=st.sampled_from([5.0, 60.0]),
        make_room=st.booleans(),
    )
    def ask_for_reload(
        self, waits: bool, asked: bool, timeout: float, make_room: bool = False
    ) -> None:
        request = self.new_request("reload") if asked else None
        self.tell(TimePassed())
        state = self.fleet.state
        busy = state.stop is not None or state.reload is not None or state.active is None
        number = state.last_reload
        self.tell(ReloadRequested(request, timeout, waits, make_room))
        assert (state.last_reload > number) is not (busy or self.world.quit is not None)
        if request is not None and busy:
            (answer,) = self.world.answers[request]
            assert isinstance(answer.outcome, Failed)
            assert answer.outcome.code in ("busy", "not-running")

    @rule(timeout=st.sampled_from([5.0, 60.0]))
    def ask_for_roll_back(self, timeout: float) -> None:
        request = self.new_request("rollback")
        self.tell(TimePassed())
        state = self.fleet.state
        lineage = [one.number for one in state.lineage]
        free = state.stop is None and state.reload is None and state.active is not None
        number = state.last_reload
        self.tell(RollBackRequested(request, timeout))
        tried = free and bool(lineage) and self.world.quit is None
        assert (state.last_reload > number) is tried
        if not tried:
            (answer,) = self.world.answers[request]
            assert isinstance(answer.outcome, Failed)

    @rule(workers=st.integers(1, 4))
    def ask_for_scale(self, workers: int) -> None:
        request = self.new_request("scale")
        self.tell(ScaleRequested(request, workers))
        (answer,) = self.world.answers[request]
        active = self.fleet.state.active
        if isinstance(answer.outcome, Scaled):
            assert active is not None
            assert len(active.seats) == workers

    @rule(number=st.integers(1, 6), within=st.sampled_from([0.0, 3.0, inf]))
    def ask_for_drain(self, number: int, within: float) -> None:
        self.limits[number] = min(self.limits.get(number, inf), self.world.now + within)
        if within == 0.0:
            self.paused.discard(number)
        self.tell(DrainLimited(self.new_request("drain"), number, within))

    @rule(number=st.integers(1, 6), resume=st.booleans())
    def ask_for_pause(self, number: int, resume: bool) -> None:
        request = self.new_request("pause")
        if resume:
            self.paused.discard(number)
            self.tell(DrainResumed(request, number))
            return
        self.tell(DrainPaused(request, number))
        (answer,) = self.world.answers[request]
        generation = self.fleet.state.generations.get(number)
        match answer.outcome, generation:
            case DrainChanged(), Generation(state=GenerationState.DRAINING):
                self.paused.add(number)

    @rule(
        lead=st.sampled_from([0.0, 3.0, 10.0]),
        within=st.sampled_from([0.0, 5.0, inf]),
        waits=st.booleans(),
    )
    def ask_for_leave(self, lead: float, within: float, waits: bool) -> None:
        request = self.new_request("leave")
        self.tell(TimePassed())
        state = self.fleet.state
        can = state.stop is None and state.active is not None
        steered = state.steering.in_flight, state.steering.current
        since = self.world.now if state.out_of_rotation is None else state.out_of_rotation.since
        if can:
            self.lead = lead
        deaths = self.deaths
        self.tell(LeaveRequested(request, lead, within, waits))
        if self.world.quit is not None or self.deaths > deaths:
            return
        if can:
            assert self.fleet.state.out_of_rotation is not None
            assert since == self.fleet.state.out_of_rotation.since
        assert steered == (self.fleet.state.steering.in_flight, self.fleet.state.steering.current)
        for action in self.last:
            assert isinstance(action, Answer | Note | AskToLeave), "and nothing else is done"

    @rule()
    def ask_for_join(self) -> None:
        request = self.new_request("join")
        self.tell(TimePassed())
        state = self.fleet.state
        can = state.stop is None and state.active is not None
        deaths = self.deaths
        self.tell(JoinRequested(request))
        if self.world.quit is not None or self.deaths > deaths:
            return
        if can:
            assert self.fleet.state.out_of_rotation is None
        for action in self.last:
            assert isinstance(action, Answer | Note | SendStay)

    @rule(asked=st.booleans(), luck=st.integers(0, 4))
    def ask_for_stop(self, asked: bool, luck: int) -> None:
        if luck and not self.stop_asked:
            return
        self.stop_asked = True
        self.tell(StopRequested(self.new_request("stop") if asked else None))

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def requester_leaves(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.waiting()))
        self.left.add(request)
        self.tell(RequesterGone(request))

    def new_request(self, what: str) -> int:
        self.requests[len(self.requests)] = what
        return len(self.requests) - 1

    # -- kernel and clock --------------------------------------------------------------------

    @precondition(lambda self: self.world.pending)
    @rule(data=st.data(), works=st.sampled_from([True, True, True, False]))
    def something_late_is_done(self, data: st.DataObject, works: bool) -> None:
        self.complete(data.draw(st.sampled_from(self.world.pending)), works=works)

    def complete(self, action: Action, *, works: bool) -> None:
        event = self.world.complete(action, works=works)
        if event is not None:
            self.tell(event)

    @precondition(
        lambda self: not any(isinstance(one, Spawn | Steer) for one in self.world.pending)
    )
    @rule()
    def the_supervisor_is_re_executed(self) -> None:
        """What it waits for is lost, but for spawns and steering, which are done at once."""
        if self.world.quit is not None or resuming.why_not(self.fleet.state) is not None:
            return
        self.fleet = load(json.loads(json.dumps(dump(self.fleet))))
        self.world.pending.clear()
        self.tell(Reexecuted("0.2.0", "0.1.0"))

    @rule(data=st.data(), death=deaths)
    def the_supervisor_dies(self, data: st.DataObject, death: Death) -> None:
        """In the next step, whatever that is, or between two."""
        if self.world.quit is not None or not resuming.can_recover(self.fleet.state):
            return
        steps: dict[str, Callable[[], object]] = {
            "none": lambda: self.die(death, []),
            "time": self.time_passes_to_the_next_deadline,
            "reload": lambda: self.tell(ReloadRequested(self.new_request("reload"))),
            "roll back": lambda: self.tell(RollBackRequested(self.new_request("rollback"))),
            "scale": lambda: self.tell(ScaleRequested(self.new_request("scale"), death.done or 1)),
            "drain": lambda: self.tell_drain(data.draw(st.integers(1, 6)), 0.0),
            "census": lambda: self.census_is_taken(2),
            "leave": lambda: self.ask_for_leave(3.0, inf, waits=True),
            "join": self.ask_for_join,
        }
        if self.world.pending:
            late = data.draw(st.sampled_from(self.world.pending))
            steps["late"] = lambda: self.complete(late, works=data.draw(st.booleans()))
        if self.world.processes:
            steps["exit"] = lambda: self.worker_dies(data)
        step = data.draw(st.sampled_from(sorted(steps)))
        self.dies = None if step == "none" else death
        steps[step]()
        self.dies = None

    def tell_drain(self, number: int, within: float) -> None:
        self.limits[number] = min(self.limits.get(number, inf), self.world.now + within)
        self.paused.discard(number)
        self.tell(DrainLimited(self.new_request("drain"), number, within))

    @rule(seconds=st.sampled_from([0.1, 0.5, 0.9, 3.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        self.tell(TimePassed())

    @rule()
    def time_passes_to_the_next_deadline(self) -> None:
        deadline = self.fleet.next_deadline()
        if deadline is not None:
            self.world.now = max(self.world.now, deadline)
            self.tell(TimePassed())

    @rule()
    def queues_are_looked_at(self) -> None:
        self.look()

    def look(self) -> None:
        self.tell(self.world.observed())
        state = self.fleet.state
        active = state.active
        if active is None or state.stop is not None or active.sweep_at is not None:
            return
        if not seating.too_many_sweepers(state, active, self.world.now):
            assert steering.orphans(state) == [], "a queue that no worker will empty"

    @rule(choice=st.integers(0, 8))
    def a_process_of_no_worker_takes_a_slot_or_ends(self, choice: int) -> None:
        slots = list(self.world.queues)
        self.world.occupied ^= {slots[choice % len(slots)]}
        self.look()

    @rule(rounds=st.integers(1, 3))
    def census_is_taken(self, rounds: int) -> None:
        """After a look at the queues, as the runtime takes each."""
        for _ in range(rounds):
            self.tell(self.world.observed())
            self.tell(self.world.census())

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        while self.world.pending:
            self.complete(self.world.pending[0], works=True)
        for process in list(self.world.processes.values()):
            if process.accepting:
                self.tell(WorkerReady(process.worker))
        self.look()
        self.world.now += self.fleet.state.policy.stable
        self.tell(TimePassed())

    @rule(number=st.integers(0, 4), works=st.booleans())
    def a_release_is_resolved_that_nobody_waits_for(self, number: int, works: bool) -> None:
        if any(isinstance(one, Resolve) and one.reload == number for one in self.world.pending):
            return
        release = Release(("chat",), "/srv/stale")
        self.tell(
            ReleaseResolved(number, release, self.world.policy)
            if works
            else ReleaseRefused(number, "stale")
        )

    @rule(epoch=st.integers(0, 9), works=st.booleans())
    def a_steering_is_answered_that_was_answered_before(self, epoch: int, works: bool) -> None:
        if epoch < self.fleet.state.steering.epoch:
            self.tell(Steered(epoch) if works else SteerFailed(epoch, "stale"))

    # -- clients and workers -----------------------------------------------------------------

    @rule(choice=st.integers(0, 8), quick=st.booleans(), second=st.booleans())
    def client_connects(self, choice: int, quick: bool, second: bool) -> None:
        names = sorted(self.world.listeners)
        slot = self.world.slot_for(names[second % len(names)], choice)
        self.world.handshakes.append((slot, self.world.epoch))
        if quick:
            self.world.finish_handshake(len(self.world.handshakes) - 1)

    @precondition(lambda self: self.world.handshakes)
    @rule(data=st.data())
    def handshake_ends(self, data: st.DataObject) -> None:
        self.world.finish_handshake(
            data.draw(st.integers(0, len(self.world.handshakes) - 1)),
        )

    def some_process(self, data: st.DataObject) -> Process:
        return self.world.processes[data.draw(st.sampled_from(sorted(self.world.processes)))]

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def worker_accepts(self, data: st.DataObject) -> None:
        self.world.accept(self.some_process(data))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def connection_ends(self, data: st.DataObject) -> None:
        process = self.some_process(data)
        process.connections = max(0, process.connections - 1)

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def worker_dies(self, data: st.DataObject) -> None:
        self.tell(self.world.exit(self.some_process(data)))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data(), serves=st.booleans())
    def main_process_ends(self, data: st.DataObject, serves: bool) -> None:
        process = self.some_process(data)
        if process.main_ended:
            serves = process.accepting
        self.tell(self.world.end_main_process(process, serves=serves))
        if self.deaths == 0 and self.world.quit is None:
            one = self.fleet.state.worker(process.worker)
            assert one is not None
            assert one.state in (WorkerState.DRAINING, WorkerState.STALLED, WorkerState.STOPPING)

    @precondition(lambda self: any(one.told_to_end for one in self.world.processes.values()))
    @rule()
    def workers_obey(self) -> None:
        for process in list(self.world.processes.values()):
            if process.told_to_end or process.killed:
                self.tell(self.world.exit(process))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def worker_hangs_or_wakes(self, data: st.DataObject) -> None:
        process = self.some_process(data)
        process.accepting = not process.accepting

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data(), looks=st.integers(1, 8))
    def worker_stands_still_while_a_client_waits(self, data: st.DataObject, looks: int) -> None:
        process = self.some_process(data)
        process.accepting = False
        for slot in set(process.slots.values()) & named_by(self.world.table):
            self.world.queues[slot] += 1
        for _ in range(looks):
            self.world.now += 0.9
            self.look()

    @precondition(lambda self: any(not one.accepting for one in self.world.processes.values()))
    @rule(data=st.data())
    def worker_accepts_all_after_a_pause(self, data: st.DataObject) -> None:
        paused = sorted(one for one, own in self.world.processes.items() if not own.accepting)
        process = self.world.processes[data.draw(st.sampled_from(paused))]
        process.accepting = True
        while self.world.accept(process):
            pass
        self.look()

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def worker_says_ready(self, data: st.DataObject) -> None:
        """Whether or not that is what is asked for, or true."""
        self.tell(WorkerReady(self.some_process(data).worker))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data(), releases_sockets=st.booleans())
    def worker_joins(self, data: st.DataObject, releases_sockets: bool) -> None:
        process = self.some_process(data)
        process.joined = True
        self.tell(LibraryConnected(process.worker, closes=True, releases_sockets=releases_sockets))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def worker_parts(self, data: st.DataObject) -> None:
        process = self.some_process(data)
        self.tell(LibraryDisconnected(process.worker))
        process.joined = False

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def worker_gives_a_sign_of_life(self, data: st.DataObject) -> None:
        process = self.some_process(data)
        process.signs = True
        self.tell(WorkerAlive(process.worker))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data(), lie=st.sampled_from([None, None, 0, 7]))
    def worker_counts(self, data: st.DataObject, lie: int | None) -> None:
        process = self.some_process(data)
        count = process.connections if lie is None else lie
        self.tell(WorkerCounted(process.worker, count))

    @rule()
    def asked_workers_close(self) -> None:
        for process in self.world.processes.values():
            if process.asked_to_close or process.asked_to_leave:
                process.connections = 0

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def worker_lets_its_slot_go(self, data: st.DataObject) -> None:
        process = self.some_process(data)
        process.accepting = False
        self.tell(SlotReleased(process.worker))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data(), censuses=st.integers(0, 3))
    def worker_closes_its_listeners(self, data: st.DataObject, censuses: int) -> None:
        """It does not report that; two censuses in a row find it, if the worker should listen."""
        process = self.some_process(data)
        process.closed = True
        self.census_is_taken(censuses)
        one = self.fleet.state.worker(process.worker)
        reload = self.fleet.state.reload
        releasing = reload is not None and reload.phase is ReloadPhase.RELEASING_SOCKETS
        if one is not None and one.state is WorkerState.READY and not releasing:
            assert censuses <= 1

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def a_probe_passes_that_decides_nothing(self, data: st.DataObject) -> None:
        if self.world.proof is not ProbePassed:
            self.tell(ProbePassed(self.some_process(data).worker))

    @precondition(lambda self: self.world.processes)
    @rule(data=st.data())
    def a_probe_fails_that_nobody_waits_for(self, data: st.DataObject) -> None:
        process = self.some_process(data)
        self.tell(TimePassed())
        one = self.fleet.state.worker(process.worker)
        if one is not None and one.state is not WorkerState.STARTING:
            self.tell(ProbeFailed(process.worker, "stale"))
            assert self.last == []

    @rule(generation=st.integers(1, 4), index=st.integers(0, 3))
    def word_comes_of_a_worker_long_gone(self, generation: int, index: int) -> None:
        worker_id = WorkerId(generation, index, 99)
        self.tell(WorkerReady(worker_id))

    # -- the end -----------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "fleet"):
            return
        self.let_everything_finish()
        state = self.fleet.state
        if self.world.quit is None:
            assert view(state, self.world.now).state is InstanceState.SERVING
            assert state.active is not None
            assert [one.state for one in state.generations.values()] == [GenerationState.ACTIVE]
            held = steering.held_slots(state)
            for listener in state.listeners.values():
                if listener.shared is not None:
                    continue
                others = [slot for slot in listener.slots[:-1] if slot not in held]
                assert others == steering.free_slots(state, listener), "a slot leaked"
            assert len(held) == len({s for seat in state.active.seats for s in seat.slots.values()})
            assert not any(self.world.queues.values())
        else:
            assert self.world.processes == {}
            own = state.steering
            refused_or_late = own.retry_at is not None or own.in_flight is not None
            assert refused_or_late or self.world.table == steering.parked(state)
        assert self.waiting() == [], "a request that was never answered"

    def let_everything_finish(self) -> None:
        """Good weather from now on: everything works, clients leave, workers obey and accept."""
        self.world.occupied.clear()
        for _ in range(400):
            while self.world.pending:
                self.complete(self.world.pending[0], works=True)
            while self.world.handshakes:
                self.world.finish_handshake(0)
            for process in list(self.world.processes.values()):
                if process.told_to_end or process.killed:
                    self.tell(self.world.exit(process))
                    continue
                process.accepting = True
                while self.world.accept(process):
                    pass
                process.connections = 0
                self.tell(WorkerReady(process.worker))
                if process.signs:
                    self.tell(WorkerAlive(process.worker))
            self.end_what_cannot_end_by_itself()
            self.look()
            self.tell(self.world.census())
            self.world.now += 0.5
            self.tell(TimePassed())
            if self.at_rest():
                return
        raise AssertionError(f"it never came to rest: {self.fleet.state}")

    def end_what_cannot_end_by_itself(self) -> None:
        """What an operator paused, and workers that keep what others serve, too.

        That is a shared listener, or the slot of another seat where there were too few for all.
        """
        for number, generation in list(self.fleet.state.generations.items()):
            if any(drain.paused_at is not None for drain in drains(generation)):
                self.ask_for_pause(number, resume=True)
            shared = "raw" in self.world.listeners and self.world.shared(SHARED)
            scaled = generation.state is GenerationState.ACTIVE
            if (shared or scaled) and any(drain.still_listens for drain in drains(generation)):
                self.ask_for_drain(number, 0.0)

    def at_rest(self) -> bool:
        state = self.fleet.state
        if self.world.quit is not None:
            return True
        active = state.active
        return (
            self.world.settled(self.fleet)
            and not any(process.closed for process in self.world.processes.values())
            and state.stop is None
            and active is not None
            and len(state.generations) == 1
            and len(active.workers) == len(active.seats)
            and all(one.state is WorkerState.READY for one in active.workers.values())
            and state.steering.in_flight is None
            and state.steering.current == steering.wanted_table(state)
            and (state.out_of_rotation is None or not state.out_of_rotation.waiting)
        )


FleetMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("WSSUPERVISOR_EXAMPLES", "400")),
    stateful_step_count=50,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),  # explaining takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestFleet = pytest.mark.slow("400 lives of 50 steps, with all promises after each")(
    FleetMachine.TestCase
)
