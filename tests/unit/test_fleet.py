"""What the fleet decides, one row at a time: two lines of input, one of truth."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest

from wssupervisor.fleet import steering
from wssupervisor.fleet.actions import (
    Action,
    Answer,
    CutOver,
    DrainChanged,
    Failed,
    Kill,
    Note,
    NoteKind,
    Probe,
    Quit,
    Resolve,
    Scaled,
    Signal,
    Spawn,
    Steer,
    Stopped,
    TellDrain,
)
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    CensusTaken,
    DrainLimited,
    DrainPaused,
    DrainResumed,
    Event,
    Observed,
    ProbeFailed,
    ProbePassed,
    ReleaseRefused,
    ReleaseResolved,
    ReloadRequested,
    RequesterLeft,
    RollBackRequested,
    ScaleRequested,
    SlotLetGo,
    SlotsReordered,
    Spawned,
    SpawnFailed,
    StartRequested,
    Steered,
    SteerFailed,
    StopRequested,
    TimePassed,
    WorkerExited,
    WorkerJoined,
    WorkerReady,
)
from wssupervisor.fleet.health import why_not_ready
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    InstanceState,
    Listener,
    Policy,
    ReadyBy,
    Release,
    Table,
    WhenFull,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.seating import SWEEPERS
from wssupervisor.fleet.snapshot import SnapshotInvalid, dump, load
from wssupervisor.fleet.state import FIRST_SWEEPER
from wssupervisor.fleet.view import view

A = Release(("chat",), "/srv/41")
B = Release(("chat",), "/srv/42")
SLOTS = tuple(range(10, 20))
PARKING = SLOTS[-1]
POLICY = Policy(workers=2, ready_by=ReadyBy.NOTIFY, stable=1.0, keep=5.0)


def worker(generation: int, index: int = 0, incarnation: int = 1) -> WorkerId:
    return WorkerId(generation, index, incarnation)


def steered(*slots: int) -> Table:
    return Table({"ws": dict.fromkeys(slots, 1)})


class Told:
    """A fleet that is told events; what it wants is kept without its notes."""

    def __init__(self, policy: Policy = POLICY, slots: tuple[int, ...] = SLOTS) -> None:
        self.policy = policy
        self.fleet = Fleet([Listener("ws", slots)])
        self.queues = dict.fromkeys(slots, 0)
        self.notes: list[Note] = []

    def tell(self, event: Event, now: float) -> list[Action]:
        actions = self.fleet.handle(event, now)
        self.notes += [one for one in actions if isinstance(one, Note)]
        return [one for one in actions if not isinstance(one, Note)]

    def look(self, now: float, **queued: int) -> list[Action]:
        """Queue lengths by slot, as slot_10=3; all handshakes are over."""
        self.queues |= {int(name.removeprefix("slot_")): count for name, count in queued.items()}
        epoch = self.fleet.state.steering.epoch
        return self.tell(Observed(dict(self.queues), epoch), now)

    def census(self, now: float, counts: dict[WorkerId, int], strays: int = 0) -> list[Action]:
        return self.tell(CensusTaken(counts, strays, began_at=now), now)

    def spawn_all(self, actions: Iterable[Action], now: float) -> None:
        for action in actions:
            if isinstance(action, Spawn):
                self.tell(Spawned(action.worker, 1000 + action.worker.index), now)

    def steer(self, actions: Iterable[Action], now: float) -> list[Action]:
        (found,) = [one for one in actions if isinstance(one, Steer)]
        return self.tell(Steered(found.epoch), now)

    def steer_any(self, actions: list[Action], now: float) -> list[Action]:
        """The same, where they steer at all."""
        for one in actions:
            if isinstance(one, Steer):
                self.tell(Steered(one.epoch), now)
        return actions

    def make_ready(self, generation: int, now: float) -> list[Action]:
        return [
            action
            for index in range(self.policy.workers)
            for action in self.tell(WorkerReady(worker(generation, index)), now)
        ]

    def begin_reload(self, now: float, request: int | None = 1) -> None:
        """A reload whose candidate has pids."""
        self.tell(ReloadRequested(request), now)
        reload = self.fleet.state.last_reload
        self.spawn_all(self.tell(ReleaseResolved(reload, B, self.policy), now), now)

    def state(self, now: float) -> InstanceState:
        return view(self.fleet.state, now).state


def starting(policy: Policy = POLICY, slots: tuple[int, ...] = SLOTS) -> Told:
    """Generation 1 has pids and is not ready; everything is parked. It is second 1."""
    told = Told(policy, slots)
    told.steer(told.look(0), 0)
    told.look(0)
    told.spawn_all(told.tell(StartRequested(A, policy), 1), 1)
    return told


def serving(policy: Policy = POLICY, slots: tuple[int, ...] = SLOTS) -> Told:
    """Generation 1 is active. It is second 3."""
    told = starting(policy, slots)
    told.make_ready(1, 1)
    told.steer(told.tell(TimePassed(), 2), 2)
    told.look(3)
    return told


def draining(policy: Policy = POLICY) -> Told:
    """Generation 2 is active and generation 1 drains since second 12."""
    told = serving(policy)
    told.begin_reload(10)
    told.make_ready(2, 11)
    told.steer(told.tell(TimePassed(), 12), 12)
    told.look(12)
    return told


def test_a_start_parks_first_and_spawns_on_slots_of_their_own() -> None:
    told = Told()

    assert told.look(0) == [Steer(1, steered(PARKING))]
    assert told.tell(StartRequested(A, POLICY), 1) == [
        Spawn(worker(1, 0), A, {"ws": 10}),
        Spawn(worker(1, 1), A, {"ws": 11}),
    ]


def test_a_first_generation_prefers_slots_where_clients_wait() -> None:
    told = Told()
    told.look(0, slot_14=2)

    assert Spawn(worker(1, 0), A, {"ws": 14}) in told.tell(StartRequested(A, POLICY), 1)


def test_what_waits_in_another_slot_gets_a_sweeper_once_somebody_serves() -> None:
    told = serving()

    assert told.look(4, slot_17=1) == [Spawn(worker(1, FIRST_SWEEPER), A, {"ws": 17})]
    assert told.look(4.2) == []


def test_cutover_waits_until_all_are_ready_and_stable() -> None:
    told = starting()
    told.tell(WorkerReady(worker(1, 0)), 2)

    assert told.tell(TimePassed(), 5) == []

    told.tell(WorkerReady(worker(1, 1)), 5)

    assert told.tell(TimePassed(), 5.9) == []
    assert told.tell(TimePassed(), 6) == [Steer(2, steered(10, 11))]


def test_a_generation_is_active_only_when_steering_is_in_force() -> None:
    told = starting()
    told.make_ready(1, 1)
    actions = told.tell(TimePassed(), 2)

    assert told.state(2) is InstanceState.STARTING

    told.steer(actions, 2)

    assert told.state(2) is InstanceState.SERVING


def test_connect_readiness_is_asked_of_a_probe_and_delay_of_nobody() -> None:
    by_connect = starting(replace(POLICY, ready_by=ReadyBy.CONNECT))
    by_delay = starting(replace(POLICY, ready_by=ReadyBy.DELAY))
    by_connect.tell(ProbePassed(worker(1, 0)), 2)
    by_connect.tell(ProbePassed(worker(1, 1)), 2)

    assert by_connect.tell(TimePassed(), 3) == [Steer(2, steered(10, 11))]
    assert by_delay.tell(TimePassed(), 2) == [Steer(2, steered(10, 11))]


@pytest.mark.parametrize("by", ReadyBy)
@pytest.mark.parametrize("event", [WorkerReady, ProbePassed])
def test_only_what_ready_by_names_makes_a_worker_ready(
    by: ReadyBy, event: type[WorkerReady | ProbePassed]
) -> None:
    told = starting(replace(POLICY, ready_by=by))
    told.tell(event(worker(1, 0)), 2)
    one = told.fleet.state.worker(worker(1, 0))
    named = {ReadyBy.NOTIFY: WorkerReady, ReadyBy.DELAY: None}.get(by, ProbePassed)

    assert one is not None
    assert (one.state is WorkerState.READY) == (by is ReadyBy.DELAY or event is named)


def test_a_spawned_worker_is_probed_on_its_slots() -> None:
    told = Told(replace(POLICY, ready_by=ReadyBy.CONNECT))
    told.look(0)
    told.tell(StartRequested(A, told.policy), 1)

    assert told.tell(Spawned(worker(1, 0), 5), 2) == [Probe(worker(1, 0), {"ws": 10})]


def test_a_reload_cuts_over_answers_and_lets_the_old_generation_drain() -> None:
    told = serving()
    told.begin_reload(10, request=7)
    told.make_ready(2, 11)
    actions = told.tell(TimePassed(), 12)

    assert actions == [Steer(3, steered(12, 13))]
    assert told.steer(actions, 12) == [Answer(7, CutOver(1, 2, 1, 2))]
    assert told.fleet.state.generations[1].state is GenerationState.DRAINING


def test_a_cutover_and_a_roll_back_change_what_picks_the_worker() -> None:
    told = serving()
    told.policy = replace(POLICY, by_client=("ws",))
    told.begin_reload(10)
    told.make_ready(2, 11)
    by_client = Table({"ws": {12: 1, 13: 1}}, ("ws",))
    actions = told.tell(TimePassed(), 12)

    assert actions == [Steer(3, by_client)]

    told.steer(actions, 12)

    assert [one.by_client for one in view(told.fleet.state, 12).listeners] == [True]

    told.tell(RollBackRequested(7), 13)

    assert told.tell(TimePassed(), 14) == [Steer(4, steered(10, 11))]


def test_by_client_is_refused_on_a_listener_that_is_shared() -> None:
    fleet = Fleet([Listener("ws", (10,), shared=10)])
    policy = replace(POLICY, by_client=("ws",))
    fleet.handle(Observed({10: 0}, 0), 0)
    fleet.handle(StartRequested(A, policy), 1)

    assert fleet.state.stop is not None
    assert "needs steering, and listener 'ws' is in shared mode" in str(fleet.state.stop.reason)


def test_a_reload_reads_the_release_first() -> None:
    assert serving().tell(ReloadRequested(7), 10) == [Resolve(1)]


@pytest.mark.parametrize("state", ["starting", "reloading", "stopping"])
def test_a_reload_at_a_bad_moment_is_not_tried(state: str) -> None:
    told = starting() if state == "starting" else serving()
    if state == "reloading":
        told.begin_reload(10)
    if state == "stopping":
        told.tell(StopRequested(None), 10)
    (answer,) = told.tell(ReloadRequested(7), 11)

    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "busy"


FAILURES: list[tuple[Event, str]] = [
    (WorkerExited(worker(2), Exit(status=1)), "exited with status 1 before it was ready"),
    (WorkerExited(worker(2), Exit(status=0)), "exited with status 0 before it was ready"),
    (WorkerExited(worker(2), Exit(signal="SIGSEGV")), "was killed by SIGSEGV before it was ready"),
    (SpawnFailed(worker(2), "no memory"), "could not be started: no memory before it was ready"),
    (ProbeFailed(worker(2), "could not be probed"), "could not be probed"),
]


@pytest.mark.parametrize(("event", "reason"), FAILURES)
def test_a_candidate_that_fails_is_thrown_away_and_nothing_else_is_touched(
    event: Event, reason: str
) -> None:
    told = serving()
    told.begin_reload(10, request=7)
    actions = told.tell(event, 11)
    touched = {one.worker.generation for one in actions if isinstance(one, Signal | Kill)}

    assert touched == {2}
    assert not any(isinstance(one, Steer) for one in actions)
    assert (
        Answer(7, Failed("reload-failed", f"worker 0 of generation 2 {reason}", 1, worker(2)))
        in actions
    )
    assert told.state(11) is InstanceState.SERVING


def test_a_candidate_that_dies_within_stable_fails() -> None:
    told = serving()
    told.begin_reload(10, request=7)
    told.make_ready(2, 11)
    actions = told.tell(WorkerExited(worker(2, 1), Exit(status=3)), 11.5)
    reason = (
        "worker 1 of generation 2 exited with status 3 0.5 s after it was ready, within `stable`"
    )

    assert Answer(7, Failed("reload-failed", reason, 1, worker(2, 1))) in actions


def test_a_candidate_that_is_never_ready_fails_at_its_limit() -> None:
    told = serving()
    told.begin_reload(10, request=7)

    assert told.fleet.next_deadline() == 40

    answers = [one for one in told.tell(TimePassed(), 40) if isinstance(one, Answer)]

    assert len(answers) == 1
    assert "was not ready within 30s: it did not say READY=1" in str(answers[0])


def test_a_release_that_cannot_be_used_fails_with_its_reason() -> None:
    told = serving()
    told.tell(ReloadRequested(7), 10)

    assert told.tell(ReleaseRefused(1, "no such file"), 11) == [
        Answer(7, Failed("reload-failed", "no such file", 1))
    ]


def test_a_cancelled_reload_never_takes_effect() -> None:
    told = serving()
    told.begin_reload(10, request=7)
    actions = told.tell(RequesterLeft(7), 11)

    assert actions == [Signal(worker(2, 0), "SIGTERM"), Signal(worker(2, 1), "SIGTERM")]
    assert told.make_ready(2, 12) == []
    assert told.tell(TimePassed(), 16) == [
        Signal(worker(2, 0), "SIGTERM", rest=True),
        Signal(worker(2, 1), "SIGTERM", rest=True),
    ]
    assert told.tell(TimePassed(), 20) == []
    assert told.tell(TimePassed(), 21) == [Kill(worker(2, 0)), Kill(worker(2, 1))]
    assert told.fleet.state.active is not None
    assert told.fleet.state.active.number == 1


def test_a_release_that_is_resolved_after_the_cancel_is_not_started() -> None:
    told = serving()
    told.tell(ReloadRequested(7), 10)
    told.tell(RequesterLeft(7), 11)

    assert told.tell(ReleaseResolved(1, B, POLICY), 12) == []


def test_steering_that_fails_at_cutover_fails_the_reload() -> None:
    told = serving()
    told.begin_reload(10, request=7)
    told.make_ready(2, 11)
    told.tell(TimePassed(), 12)
    actions = told.tell(SteerFailed(3, "refused"), 12)

    assert {one.worker.generation for one in actions if isinstance(one, Signal)} == {2}
    assert any(isinstance(one, Answer) and isinstance(one.outcome, Failed) for one in actions)


def test_too_few_free_slots_are_shared_and_none_is_a_refusal() -> None:
    few = serving(slots=SLOTS[:4])
    few.tell(ReloadRequested(7), 10)
    none = serving(slots=SLOTS[:3])
    none.tell(ReloadRequested(7), 10)
    (answer,) = none.tell(ReleaseResolved(1, B, POLICY), 10)

    assert few.tell(ReleaseResolved(1, B, POLICY), 10) == [
        Spawn(worker(2, 0), B, {"ws": 12}),
        Spawn(worker(2, 1), B, {"ws": 12}),
    ]
    assert "no slot of listener 'ws' is free" in str(answer)


def test_a_slot_is_not_free_while_a_handshake_of_before_may_end_on_it() -> None:
    told = Told()
    told.steer(told.tell(Observed(dict(told.queues), 0), 0), 0)
    told.tell(StartRequested(A, POLICY), 1)
    told.tell(Observed(dict(told.queues), 0), 2)

    assert view(told.fleet.state, 2).listeners[0].free == 0

    told.tell(Observed(dict(told.queues), 1), 3)

    assert view(told.fleet.state, 3).listeners[0].free == 7


def test_a_slot_is_not_free_while_a_process_of_no_worker_holds_it() -> None:
    told = serving()
    free = steering.free_slots(told.fleet.state, told.fleet.state.listeners["ws"])
    epoch = told.fleet.state.steering.epoch
    told.tell(Observed(dict(told.queues), epoch, occupied=frozenset(free[:1])), 5)

    assert free[1:] == steering.free_slots(told.fleet.state, told.fleet.state.listeners["ws"])

    told.tell(Observed(dict(told.queues), epoch), 6)

    assert free == steering.free_slots(told.fleet.state, told.fleet.state.listeners["ws"])


def test_too_many_draining_generations_refuse_the_next() -> None:
    told = draining(replace(POLICY, max_draining=1))
    told.tell(ReloadRequested(8), 20)
    (answer,) = told.tell(ReleaseResolved(2, B, told.policy), 20)

    assert "`wssctl drain 1 --within 0s`" in str(answer)


def test_a_crashed_worker_is_steered_away_from_and_respawned_at_once_on_its_slot() -> None:
    told = serving()

    assert told.tell(WorkerExited(worker(1, 0), Exit(signal="SIGKILL")), 10) == [
        Steer(3, steered(11)),
        Spawn(worker(1, 0, 2), A, {"ws": 10}),
    ]


def test_a_worker_that_crashes_again_and_again_waits_longer_each_time() -> None:
    told = serving()
    delays = []
    now = 10.0
    for incarnation in range(1, 6):
        told.tell(WorkerExited(worker(1, 0, incarnation), Exit(status=1)), now)
        seat = told.fleet.state.generations[1].seats[0]
        delays.append(0.0 if seat.retry_at is None else seat.retry_at - now)
        now = max(now, seat.retry_at or now)
        told.tell(TimePassed(), now)

    assert delays == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_failures_are_forgotten_after_a_stable_time() -> None:
    told = serving()
    for at in (100.0, 200.0):
        told.spawn_all(told.tell(WorkerExited(worker(1, 0, int(at / 100)), Exit(status=1)), at), at)
        told.tell(WorkerReady(worker(1, 0, int(at / 100) + 1)), at)

    assert told.fleet.state.generations[1].seats[0].failures == 1


def test_the_only_workers_queue_waits_for_its_replacement() -> None:
    told = serving(replace(POLICY, workers=1))

    assert told.tell(WorkerExited(worker(1), Exit(status=1)), 10) == [
        Spawn(worker(1, 0, 2), A, {"ws": 10})
    ]


# -- stalls ---------------------------------------------------------------------------------------

STALLS = replace(POLICY, workers=1, accept_stall=2.0, replace_stalled=10.0)


def looks(told: Told, begin: float, end: float, **queued: int) -> list[Action]:
    """Look twice a second, the queues as they are; all that was wanted at those looks."""
    found = told.look(begin, **queued)
    for half in range(1, int((end - begin) * 2) + 1):
        found += told.look(begin + half / 2)
    return found


def stalled(policy: Policy = STALLS) -> tuple[Told, list[Action]]:
    """Worker 0 has not accepted from second 10 to 20, and what was wanted at second 20."""
    told = serving(policy)
    actions = looks(told, 10, 19.5, slot_10=1)
    for action in actions:
        if isinstance(action, Steer):
            told.tell(Steered(action.epoch), 19.5)
    assert [one for one in actions if not isinstance(one, Steer)] == []
    return told, told.look(20)


def kinds(told: Told) -> list[str]:
    return [one.kind.value for one in told.notes if one.kind.value.startswith(("stall", "worker-"))]


def test_a_stalled_worker_is_steered_away_from_and_keeps_its_seat() -> None:
    told = serving()

    assert looks(told, 10, 15, slot_10=1) == [Steer(3, steered(11))]
    assert view(told.fleet.state, 15).generations[0].workers[0].state is WorkerState.SILENT
    assert told.fleet.state.generations[1].seats[0].worker == worker(1)


def test_one_that_accepts_again_is_steered_to_again_and_nothing_else_happens() -> None:
    told = serving()
    told.steer(looks(told, 10, 15, slot_10=3), 15)

    assert told.look(15.5, slot_10=2) == [Steer(4, steered(10, 11))]
    assert kinds(told)[-2:] == ["worker-silent", "worker-accepts"]
    assert told.fleet.state.generations[1].seats[0].failures == 0


def test_while_no_worker_accepts_steering_stays_where_it_is() -> None:
    told = serving(replace(POLICY, workers=2))

    assert looks(told, 10, 15, slot_10=3, slot_11=1) == []
    assert why_not_ready(told.fleet.state) is None


def test_where_clients_have_a_worker_each_they_wait_for_one_that_pauses() -> None:
    told = serving(replace(POLICY, by_client=("ws",)))

    assert looks(told, 10, 19.5, slot_10=3) == []

    (steer,) = [one for one in told.look(20) if isinstance(one, Steer)]

    assert steer.table.weights == {"ws": {11: 1}}


def test_a_census_that_finds_more_connections_shows_an_accept_though_the_queue_is_full() -> None:
    told = serving(STALLS)
    looks(told, 10, 15, slot_10=4097)
    told.census(15, {worker(1): 7})  # they may have been there before

    assert kinds(told)[-1] == "worker-silent"

    told.census(16, {worker(1): 8})

    assert kinds(told)[-1] == "worker-accepts"


def test_one_that_does_not_accept_for_long_is_replaced_and_steered_to_until_that_is_ready() -> None:
    told, actions = stalled()
    told.spawn_all(actions, 20)

    assert actions == [Spawn(worker(1, 0, 2), A, {"ws": 11})]
    assert looks(told, 20.5, 25) == []
    assert told.tell(WorkerReady(worker(1, 0, 2)), 25) == [
        Steer(3, steered(11)),
        Spawn(worker(1, FIRST_SWEEPER), A, {"ws": 10}),
    ]
    assert told.fleet.state.generations[1].workers[worker(1)].state is WorkerState.SILENT


def test_one_that_accepts_before_its_replacement_is_ready_has_its_seat_back() -> None:
    told, actions = stalled()
    told.spawn_all(actions, 20)

    assert told.look(22, slot_10=0) == [Signal(worker(1, 0, 2), "SIGTERM")]
    assert told.fleet.state.generations[1].seats[0].worker == worker(1)

    told.tell(WorkerExited(worker(1, 0, 2), Exit(status=0)), 23)

    assert told.fleet.state.generations[1].seats[0].failures == 0
    assert told.look(24) == []


def test_one_that_accepts_after_it_was_replaced_drains_and_serves_when_the_other_stalls() -> None:
    told, actions = stalled()
    told.spawn_all(actions, 20)
    told.steer(told.tell(WorkerReady(worker(1, 0, 2)), 21), 21)
    told.look(22, slot_10=0)

    assert told.fleet.state.generations[1].workers[worker(1)].state is WorkerState.SILENT

    told.tell(WorkerExited(worker(1, FIRST_SWEEPER), Exit(status=0)), 23)
    told.look(24)

    assert told.fleet.state.generations[1].workers[worker(1)].state is WorkerState.DRAINING
    assert looks(told, 30, 41, slot_11=1) == [
        Steer(4, steered(10)),
        Spawn(worker(1, FIRST_SWEEPER + 1), A, {"ws": 11}),
    ]
    assert told.fleet.state.generations[1].seats[0].worker == worker(1)
    assert told.fleet.state.generations[1].workers[worker(1, 0, 2)].state is WorkerState.SILENT


def test_a_seat_has_one_worker_more_at_the_most_and_the_limit_is_reported_once() -> None:
    told, actions = stalled()
    told.spawn_all(actions, 20)
    told.spawn_all(told.steer(told.tell(WorkerReady(worker(1, 0, 2)), 21), 21), 21)
    actions = looks(told, 30, 90, slot_11=1, slot_10=1)

    assert [one for one in actions if isinstance(one, Spawn)] == []
    assert kinds(told).count("stall-not-replaced") == 1
    shown = view(told.fleet.state, 90).generations[0].workers
    assert "the limit of replacements is reached" in str([one.reason for one in shown])


def held_up(told: Told, begin: int, end: int) -> list[Action]:
    """Every 5 seconds a census finds that worker 0 waits for its clients; none is accepted."""
    actions = []
    for at in range(begin, end, 5):
        event = CensusTaken({worker(1): 1}, 0, at, {}, frozenset({worker(1)}))
        actions += told.steer_any(told.tell(event, at), at)
        actions += told.steer_any(looks(told, at, at + 4.5, slot_10=1), at + 4.5)
    return actions


def test_one_that_slow_clients_hold_up_is_replaced_late_if_at_all() -> None:
    told = serving(STALLS)
    told.steer_any(looks(told, 10, 14, slot_10=1), 14)

    assert [one for one in held_up(told, 15, 300) if isinstance(one, Spawn)] == []
    assert kinds(told).count("stall-not-replaced") == 1
    assert kinds(told).count("stall-replaced") == 0

    late = held_up(told, 300, 320)

    assert [one.worker for one in late if isinstance(one, Spawn)] == [worker(1, 0, 2)]


def test_one_that_its_clients_do_not_hold_up_any_more_is_replaced() -> None:
    told = serving(STALLS)
    told.steer_any(looks(told, 10, 14, slot_10=1), 14)
    held_up(told, 15, 30)
    actions = looks(told, 30, 36, slot_10=1)

    assert [one.worker for one in actions if isinstance(one, Spawn)] == [worker(1, 0, 2)]


MANY = [slot for slot in SLOTS if slot not in (10, 11, PARKING)]
"""Slots that no worker has."""


def spawns(actions: Iterable[Action]) -> list[Spawn]:
    return [one for one in actions if isinstance(one, Spawn)]


def test_whoever_came_before_a_start_is_served_at_once_in_however_many_slots() -> None:
    told = serving()
    actions = told.look(4, **{f"slot_{slot}": 1 for slot in MANY})

    assert len(MANY) > SWEEPERS
    assert len(spawns(actions)) == len(MANY)


def test_clients_that_hold_up_one_sweeper_after_another_make_few_of_them() -> None:
    told = serving(STALLS)
    first, last = MANY[:SWEEPERS], MANY[SWEEPERS:]
    held = {f"slot_{slot}": 1 for slot in first}
    assert len(spawns(told.look(4, **held))) == SWEEPERS
    looks(told, 4, 10, **held)

    assert spawns(told.look(10.5, **held, **{f"slot_{slot}": 1 for slot in last})) == []

    held[f"slot_{first[0]}"] = 0  # one of them has accepted

    assert len(spawns(told.look(11, **held, **{f"slot_{slot}": 1 for slot in last}))) == len(last)


def test_replacements_for_stalls_come_with_growing_pauses() -> None:
    told, actions = stalled()
    spawned: list[float] = []
    for half in range(2 * 300):
        at = 20 + half / 2
        for action in actions:
            match action:
                case Spawn(worker=who):
                    spawned.append(at)
                    told.tell(Spawned(who, 5), at)
                case Signal(worker=who):
                    told.tell(WorkerExited(who, Exit(status=0)), at)
                case Steer(epoch=epoch):
                    told.tell(Steered(epoch), at)
        # It accepts for a moment every 15 seconds, before its replacement is ready.
        accepts = half % 30 == 0
        actions = told.look(at + 0.25, slot_10=0 if accepts else 1)

    gaps = [later - earlier for earlier, later in pairwise(spawned)]
    assert len(spawned) <= 6
    assert gaps == sorted(gaps)
    assert all(gap >= 10 for gap in gaps)


def test_a_candidate_that_pauses_is_waited_for_and_one_that_does_not_accept_fails() -> None:
    told = serving(STALLS)
    told.policy = replace(STALLS, stable=5.0)
    told.begin_reload(10)
    told.make_ready(2, 10.2)
    told.queues[11] = 1
    waited = looks(told, 10.5, 15)
    told.fleet.state.reload.deadline = inf  # type: ignore[union-attr]

    assert [one for one in waited if isinstance(one, Steer)] == []

    failed = looks(told, 15.5, 21)

    assert "its queue has not moved for 10" in str(failed)


def test_an_old_worker_that_does_not_accept_leaves_its_queue_to_a_sweeper() -> None:
    told = draining()
    actions = looks(told, 13, 23, slot_10=1)

    assert actions == [Spawn(worker(2, FIRST_SWEEPER), B, {"ws": 10})]


def test_a_sweeper_that_does_not_accept_either_is_ended_before_there_is_another() -> None:
    told = serving()
    lives: set[WorkerId] = set()
    most = spawned = 0
    for half in range(600):
        at = 10 + half / 2
        actions = told.look(at, slot_17=1)
        actions += told.census(at, dict.fromkeys(lives, 0))
        for action in actions:
            match action:
                case Spawn(worker=who):
                    lives.add(who)
                    spawned += 1
                    told.tell(Spawned(who, 5), at)
                case Signal(worker=who):
                    lives.remove(who)
                    told.tell(WorkerExited(who, Exit(status=0)), at)
        most = max(most, len(lives))

    assert most == 1
    assert 2 <= spawned <= 12


def test_a_silent_sweeper_that_accepts_again_is_not_ended_while_clients_are_queued() -> None:
    told = serving()
    told.spawn_all(told.look(10, slot_17=3), 10)
    looks(told, 10.5, 60, slot_17=3)
    sweeper = worker(1, FIRST_SWEEPER)

    assert told.fleet.state.generations[1].workers[sweeper].state is WorkerState.SILENT

    told.look(60, slot_17=2)

    assert told.census(60, {sweeper: 0}) == [], "it may have accepted another one since"


def test_a_queue_that_moves_is_not_stalled_however_long_it_is() -> None:
    told = serving()

    for tenth in range(40):
        assert told.look(10 + tenth / 10, slot_10=50 - tenth % 2) == []


def test_a_queue_that_we_did_not_watch_is_not_stalled() -> None:
    told = serving()
    told.look(10, slot_10=5)

    assert told.look(20) == []


def test_a_worker_that_closed_its_socket_is_replaced_and_keeps_its_connections() -> None:
    told = serving()
    actions = told.tell(SlotLetGo(worker(1)), 10)

    assert actions == [Steer(3, steered(11)), Spawn(worker(1, 0, 2), A, {"ws": 12})]


def test_a_draining_worker_is_left_alone_until_two_censuses_found_nothing() -> None:
    told = draining()
    gone = {worker(1, 0): 0, worker(1, 1): 3}

    assert told.census(18, gone) == []
    assert told.census(19, gone) == [Signal(worker(1, 0), "SIGTERM")]
    assert told.census(20, {worker(1, 1): 0}) == []
    assert told.census(21, {worker(1, 1): 0}) == [Signal(worker(1, 1), "SIGTERM")]


def test_a_generation_is_kept_for_a_while_even_without_connections() -> None:
    told = draining()
    for second in (13, 14, 15):
        assert told.census(second, {worker(1, 0): 0, worker(1, 1): 0}) == []

    assert told.fleet.next_deadline() == 17
    assert told.tell(TimePassed(), 17) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


@pytest.mark.parametrize("obstacle", ["queue", "stray", "handshake"])
def test_zero_means_that_nothing_can_still_become_a_connection(obstacle: str) -> None:
    told = serving()
    told.begin_reload(10)
    told.make_ready(2, 11)
    told.steer(told.tell(TimePassed(), 12), 12)
    if obstacle != "handshake":
        told.look(13, slot_10=1 if obstacle == "queue" else 0)
    for second in (18, 19, 20):
        found = told.census(second, {worker(1, 0): 0}, strays=int(obstacle == "stray"))

        assert found == []


def test_a_census_begun_before_the_drain_does_not_count() -> None:
    told = draining(replace(POLICY, keep=0.0))
    told.tell(CensusTaken({worker(1, 0): 0}, 0, began_at=11), 13)

    assert told.census(14, {worker(1, 0): 0}) == []


def test_a_limit_ends_a_drain_with_its_connections() -> None:
    told = draining(replace(POLICY, drain_timeout=60.0))
    told.census(13, {worker(1, 0): 5, worker(1, 1): 5})

    assert told.tell(TimePassed(), 71.9) == []
    assert told.tell(TimePassed(), 72) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]
    assert told.tell(TimePassed(), 82) == [Kill(worker(1, 0)), Kill(worker(1, 1))]


def test_an_operator_can_give_a_drain_a_limit() -> None:
    told = draining()

    assert told.tell(DrainLimited(9, 1, 3.0), 13) == [
        Answer(9, DrainChanged(1, workers=2, connections=0, paused=False, seconds=3.0))
    ]
    assert told.fleet.next_deadline() == 16
    assert len(told.tell(TimePassed(), 16)) == 2


def test_only_a_draining_generation_can_be_given_a_limit() -> None:
    (answer,) = draining().tell(DrainLimited(9, 2, 0.0), 13)

    assert "generation 2 is not draining (draining: 1)" in str(answer)


def test_a_limit_can_be_taken_away_again() -> None:
    told = draining(replace(POLICY, drain_timeout=60.0))
    told.tell(DrainLimited(9, 1, inf), 13)

    assert told.fleet.next_deadline() is None


def test_a_paused_drain_is_left_alone_by_its_limit_and_when_it_is_empty() -> None:
    told = draining(replace(POLICY, drain_timeout=60.0))
    told.tell(DrainPaused(9, 1), 22)
    for at in (23, 24, 25):
        told.census(at, {worker(1, 0): 0, worker(1, 1): 3})

    assert told.tell(TimePassed(), 1000) == []
    assert told.fleet.next_deadline() is None

    (answer, *rest) = told.tell(DrainResumed(10, 1), 1022)

    assert answer == Answer(
        10, DrainChanged(1, workers=2, connections=3, paused=False, seconds=50.0)
    )
    assert rest == [Signal(worker(1, 0), "SIGTERM")]
    told.tell(WorkerExited(worker(1, 0), Exit(status=0)), 1023)
    assert told.tell(TimePassed(), 1022 + 50) == [Signal(worker(1, 1), "SIGTERM")]


def test_a_drain_signal_is_sent_once_when_the_drain_begins() -> None:
    told = serving(replace(POLICY, drain_signal="SIGUSR1"))
    told.begin_reload(10)
    told.make_ready(2, 11)
    actions = told.steer(told.tell(TimePassed(), 12), 12)

    assert [one for one in actions if isinstance(one, Signal)] == [
        Signal(worker(1, 0), "SIGUSR1"),
        Signal(worker(1, 1), "SIGUSR1"),
    ]


def test_a_draining_worker_that_dies_is_not_respawned_but_its_queue_is_served() -> None:
    told = draining()
    told.look(13, slot_10=2)

    assert told.tell(WorkerExited(worker(1, 0), Exit(status=1)), 14) == []
    assert told.look(14.2) == [Spawn(worker(2, FIRST_SWEEPER), B, {"ws": 10})]


def test_the_last_worker_of_an_old_generation_retires_it() -> None:
    told = draining()
    told.tell(WorkerExited(worker(1, 0), Exit(status=0)), 14)
    told.tell(WorkerExited(worker(1, 1), Exit(status=0)), 15)

    assert list(told.fleet.state.generations) == [2]
    assert told.notes[-1] == Note(
        NoteKind.GENERATION_RETIRED,
        {"generation": 1, "seconds": 3.0, "connections": 0, "forced": 0, "lost": 0},
    )


def retired(told: Told, now: float) -> dict[str, object]:
    """What is said of generation 1 when both its workers have gone."""
    for index in (0, 1):
        told.tell(WorkerExited(worker(1, index), Exit(status=0)), now)
    note = told.notes[-1]
    assert note.kind is NoteKind.GENERATION_RETIRED
    return dict(note.fields)


def test_a_retired_generation_tells_who_left_who_was_closed_and_who_was_lost() -> None:
    told = draining()
    told.census(13, {worker(1, 0): 9, worker(1, 1): 3})
    told.census(14, {worker(1, 0): 5, worker(1, 1): 2})
    told.tell(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    told.tell(DrainLimited(9, 1, 0.0), 16)
    told.census(17, {worker(1, 0): 1})

    assert retired(told, 22) == {
        "generation": 1, "seconds": 10, "connections": 12, "forced": 5, "lost": 2
    }  # fmt: skip


def test_connections_that_a_polite_worker_was_not_to_close_after_all_are_not_forced() -> None:
    told = draining()
    for index in (0, 1):
        told.tell(WorkerJoined(worker(1, index), closes=True, lets_go=False), 12)
    told.census(13, {worker(1, 0): 10, worker(1, 1): 0})
    told.tell(DrainLimited(9, 1, 1.0), 13)
    told.tell(TimePassed(), 13)
    told.census(14, {worker(1, 0): 7, worker(1, 1): 0})
    told.tell(DrainPaused(9, 1), 14)
    told.census(15, {worker(1, 0): 0, worker(1, 1): 0})

    assert retired(told, 20)["forced"] == 3


def test_a_state_of_before_connections_were_told_apart_is_taken_over() -> None:
    data = dump(draining().fleet)
    for generation in data["state"]["generations"].values():
        del generation["forced"], generation["lost"]
        for one in generation["workers"].values():
            del one["forced"]

    assert load(data).state == draining().fleet.state


def test_a_stop_parks_first_then_ends_everybody_then_quits() -> None:
    told = serving()
    actions = told.tell(StopRequested(5), 10)

    assert actions == [Steer(3, steered(PARKING))]
    assert told.tell(Steered(3), 10) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]
    assert told.tell(WorkerExited(worker(1, 0), Exit(status=0)), 11) == []
    assert told.tell(WorkerExited(worker(1, 1), Exit(status=0)), 11) == [
        Answer(5, Stopped()),
        Quit(0),
    ]


def test_a_stop_kills_at_the_earlier_of_its_limits() -> None:
    told = serving()
    told.tell(StopRequested(None, within=3.0), 10)
    told.tell(Steered(3), 10)

    assert told.fleet.next_deadline() == 13
    assert told.tell(TimePassed(), 13) == [Kill(worker(1, 0)), Kill(worker(1, 1))]


def test_a_stop_whose_steering_is_never_answered_ends_polite_workers_at_its_limit() -> None:
    told = serving()
    for index in (0, 1):
        told.tell(WorkerJoined(worker(1, index), closes=True, lets_go=False), 9)
    told.tell(StopRequested(None, within=3.0), 10)

    assert told.fleet.next_deadline() == 13
    ended = told.tell(TimePassed(), 13)
    assert [one for one in ended if isinstance(one, Kill)] == [
        Kill(worker(1, 0)),
        Kill(worker(1, 1)),
    ]
    assert told.fleet.next_deadline() is None


def test_a_second_stop_can_bring_its_limit_nearer_and_not_put_it_off() -> None:
    told = serving()
    told.steer(told.tell(StopRequested(1), 10), 10)
    (busy, *kills) = told.tell(StopRequested(2, within=0.0), 11)
    told.tell(StopRequested(None, within=100.0), 12)

    assert "already stopping" in str(busy)
    assert kills == [Kill(worker(1, 0)), Kill(worker(1, 1))]
    assert told.fleet.state.stop is not None
    assert told.fleet.state.stop.deadline == 11


def test_a_stop_ends_a_reload_with_an_answer() -> None:
    told = serving()
    told.begin_reload(10, request=7)
    actions = told.tell(StopRequested(None), 11)

    assert [one.request for one in actions if isinstance(one, Answer)] == [7]


def test_a_first_start_that_fails_quits_with_the_reason() -> None:
    told = starting()
    told.tell(WorkerExited(worker(1, 0), Exit(status=1)), 2)
    actions = told.tell(WorkerExited(worker(1, 1), Exit(signal="SIGTERM")), 3)
    reason = "worker 0 of generation 1 exited with status 1 before it was ready"

    assert actions == [Quit(1, reason, worker(1, 0))]


def test_a_worker_told_to_end_before_it_has_a_pid_is_signalled_when_it_has_one() -> None:
    told = Told()
    told.steer(told.look(0), 0)
    told.tell(StartRequested(A, POLICY), 1)

    assert told.tell(StopRequested(None), 2) == []
    assert told.tell(Spawned(worker(1, 0), 5), 3) == [Signal(worker(1, 0), "SIGTERM")]


def test_nobody_is_parked_on_a_slot_that_a_worker_holds() -> None:
    told = serving()
    told.tell(SlotsReordered("ws", (PARKING, *SLOTS[1:-1], 10)), 10)

    assert told.tell(StopRequested(None), 11) == [Steer(3, steered(18))]


def test_a_snapshot_of_another_version_is_refused() -> None:
    data = dump(serving().fleet) | {"version": 99}

    with pytest.raises(SnapshotInvalid, match="version 99 is not known"):
        load(data)


def test_a_torn_snapshot_is_refused() -> None:
    data = dump(serving().fleet)
    del data["state"]["slots"]

    with pytest.raises(SnapshotInvalid, match="cannot be read"):
        load(data)


# -- rolling back ---------------------------------------------------------------------------------


def test_a_warm_generation_is_rolled_back_to_at_once() -> None:
    told = draining()

    assert told.tell(RollBackRequested(7), 20) == [], "before whoever asked knows its id"
    assert told.fleet.next_deadline() == 20.001
    steer = told.tell(TimePassed(), 20.5)
    assert steer == [Steer(4, steered(10, 11))]
    assert told.steer(steer, 20.5) == [Answer(7, CutOver(2, 1, 2, 0.5))]
    assert [one.number for one in told.fleet.state.in_state(GenerationState.DRAINING)] == [2]
    assert [one.state for one in told.fleet.state.generations[1].workers.values()] == [
        WorkerState.READY,
        WorkerState.READY,
    ]


def test_what_is_missing_is_respawned_of_the_same_release_and_judged_first() -> None:
    told = draining()
    told.tell(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    told.look(15)
    spawns = told.tell(RollBackRequested(7), 20)
    told.spawn_all(spawns, 20)

    assert spawns == [Spawn(worker(1, 1, 2), A, {"ws": 11})]
    assert told.tell(WorkerReady(worker(1, 1, 2)), 21) == []
    assert told.tell(TimePassed(), 22) == [Steer(4, steered(10, 11))]


def test_what_was_told_to_drain_is_not_rolled_back_to() -> None:
    told = draining(replace(POLICY, drain_signal="SIGUSR1"))

    assert told.tell(RollBackRequested(7), 20) == [
        Spawn(worker(1, 0, 2), A, {"ws": 14}),
        Spawn(worker(1, 1, 2), A, {"ws": 15}),
    ]


def test_a_roll_back_that_fails_changes_nothing() -> None:
    told = draining()
    told.tell(WorkerExited(worker(1, 1), Exit(status=1)), 15)
    told.look(15)
    told.spawn_all(told.tell(RollBackRequested(7), 20), 20)
    told.census(21, {worker(1, 0): 0})
    told.census(22, {worker(1, 0): 0})
    actions = told.tell(WorkerExited(worker(1, 1, 2), Exit(status=1)), 30)

    assert actions == [
        Answer(
            7,
            Failed(
                "reload-failed",
                "worker 1 of generation 1 exited with status 1 before it was ready",
                2,
                worker(1, 1, 2),
            ),
        )
    ]
    assert told.fleet.state.generations[1].state is GenerationState.DRAINING
    told.census(31, {worker(1, 0): 0})
    assert told.census(32, {worker(1, 0): 0}) == [Signal(worker(1, 0), "SIGTERM")]


def test_who_goes_silent_while_it_is_rolled_back_to_ends_when_it_is_empty() -> None:
    told = draining()
    told.tell(RollBackRequested(7), 19)
    steer = told.tell(TimePassed(), 20)
    told.tell(SlotLetGo(worker(1, 0)), 20)
    away = told.steer(steer, 20)
    told.spawn_all(away, 20)
    told.steer(away, 20)
    told.tell(WorkerReady(worker(1, 0, 2)), 21)
    told.look(24)
    idle = {worker(1, 0): 0, worker(1, 1): 0, worker(1, 0, 2): 0}
    told.census(25, idle)

    assert told.census(26, idle) == [Signal(worker(1, 0), "SIGTERM")]


def test_who_goes_silent_is_not_ended_while_clients_may_still_be_steered_to_it() -> None:
    told = serving()
    away = told.tell(SlotLetGo(worker(1, 0)), 5)
    told.look(6)
    idle = {worker(1, 0): 0, worker(1, 1): 0}
    told.census(7, idle)
    assert told.census(8, idle) == []

    told.steer(away, 9)
    told.look(10)
    told.census(11, idle)

    assert told.census(12, idle) == [Signal(worker(1, 0), "SIGTERM")]


def test_a_generation_that_has_gone_is_started_again_under_a_new_number() -> None:
    told = draining()
    for index in (0, 1):
        told.tell(WorkerExited(worker(1, index), Exit(status=0)), 15)
    told.look(15)

    assert told.tell(RollBackRequested(7), 20) == [
        Spawn(worker(3, 0), A, {"ws": 10}),
        Spawn(worker(3, 1), A, {"ws": 11}),
    ]


def test_a_generation_that_was_rolled_back_from_is_never_a_target() -> None:
    told = draining()
    told.tell(RollBackRequested(7), 19)
    told.steer(told.tell(TimePassed(), 20), 20)
    (answer,) = told.tell(RollBackRequested(8), 21)

    assert isinstance(answer, Answer)
    assert "no generation to roll back to" in str(answer.outcome)


# -- room -----------------------------------------------------------------------------------------


def crowded(
    policy: Policy = POLICY, request: int = 5, *, make_room: bool = False
) -> tuple[Told, list[Action]]:
    """Generation 1 drains with 3 connections, only one may, and a reload has its release."""
    told = draining(replace(policy, max_draining=1))
    told.census(13, {worker(1, 0): 3, worker(1, 1): 0})
    told.tell(ReloadRequested(request, make_room=make_room), 20)
    return told, told.tell(ReleaseResolved(2, B, told.policy), 20)


def test_a_full_house_refuses_a_reload_and_names_the_way_out() -> None:
    _, actions = crowded()

    assert "`wssctl drain 1 --within 0s`" in str(actions)
    assert "--make-room" in str(actions)


@pytest.mark.parametrize("how", ["policy", "request"])
def test_the_oldest_is_hurried_only_once_its_clients_find_the_new_generation(how: str) -> None:
    hurry = replace(POLICY, when_full=WhenFull.HURRY_OLDEST)
    told, actions = crowded(hurry) if how == "policy" else crowded(make_room=True)
    told.spawn_all(actions, 20)
    ready = told.make_ready(3, 21)

    assert [one for one in actions + ready if not isinstance(one, Spawn)] == []
    steer = told.tell(TimePassed(), 22)
    assert steer == [Steer(4, steered(14, 15))]
    assert [one for one in told.steer(steer, 22) if isinstance(one, Signal)] == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_a_bad_release_costs_nobody_a_connection_for_want_of_room() -> None:
    told, actions = crowded(make_room=True)
    told.spawn_all(actions, 20)
    told.tell(WorkerExited(worker(3, 0), Exit(status=1)), 21)

    assert told.fleet.state.verdict is not None
    assert not told.fleet.state.verdict.ok
    assert [one.state for one in told.fleet.state.generations[1].workers.values()] == [
        WorkerState.DRAINING,
        WorkerState.DRAINING,
    ]


def test_without_any_free_slot_the_oldest_is_hurried_first_and_waited_for() -> None:
    told = serving(slots=SLOTS[:5])
    told.begin_reload(10)
    told.make_ready(2, 11)
    told.steer(told.tell(TimePassed(), 12), 12)
    told.look(12)
    told.tell(ReloadRequested(5, make_room=True), 20)

    assert told.tell(ReleaseResolved(2, B, told.policy), 20) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]

    told.tell(WorkerExited(worker(1, 0), Exit(status=0)), 21)

    assert told.look(21.2) == [
        Spawn(worker(3, 0), B, {"ws": 10}),
        Spawn(worker(3, 1), B, {"ws": 10}),
    ]


def warm_and_held(keep: float = 100.0, max_draining: int = 2) -> Told:
    """Generation 1 drains with 20 connections, 2 is empty and kept warm, 3 is active: second 20."""
    told = serving(replace(POLICY, keep=keep, max_draining=max_draining))
    for generation, at in ((2, 10), (3, 15)):
        told.begin_reload(at, request=None)
        told.make_ready(generation, at)
        told.steer(told.tell(TimePassed(), at + 1), at + 1)
        told.look(at + 1)
    counts = {worker(1, 0): 20, worker(1, 1): 0, worker(2, 0): 0, worker(2, 1): 0}
    for at in (18, 19):
        told.census(at, counts)
    return told


def test_an_empty_generation_that_is_kept_warm_refuses_no_reload_and_is_ended_for_it() -> None:
    told = warm_and_held()
    told.begin_reload(20)
    told.make_ready(4, 20)
    actions = told.steer(told.tell(TimePassed(), 21), 21)

    assert [one for one in actions if isinstance(one, Signal)] == [
        Signal(worker(2, 0), "SIGTERM"),
        Signal(worker(2, 1), "SIGTERM"),
    ]
    (hurried,) = [one for one in told.notes if one.kind is NoteKind.DRAIN_HURRIED]
    assert hurried.fields == {"generation": 2, "connections": 0}
    assert actions[0] == Answer(1, CutOver(3, 4, 3, 1))


def test_a_reload_that_may_cut_ends_the_empty_one_all_the_same() -> None:
    told = warm_and_held()
    told.tell(ReloadRequested(1, make_room=True), 20)
    told.spawn_all(told.tell(ReleaseResolved(3, B, told.policy), 20), 20)
    told.make_ready(4, 20)
    actions = told.steer(told.tell(TimePassed(), 21), 21)
    ended = [one for one in actions if isinstance(one, Signal)]

    assert {one.worker.generation for one in ended} == {2}


def test_without_a_free_slot_the_empty_one_gives_its_own() -> None:
    told = serving(replace(POLICY, keep=100.0), slots=SLOTS[:5])
    told.begin_reload(10, request=None)
    told.make_ready(2, 10)
    told.steer(told.tell(TimePassed(), 11), 11)
    told.look(11)
    for at in (18, 19):
        told.census(at, {worker(1, 0): 0, worker(1, 1): 0})
    told.tell(ReloadRequested(5), 20)

    assert told.tell(ReleaseResolved(2, B, told.policy), 20) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_with_connections_everywhere_the_refusal_names_the_generation_with_the_fewest() -> None:
    told = warm_and_held()
    told.census(20, {worker(2, 0): 1})
    told.tell(ReloadRequested(5), 21)
    (answer,) = told.tell(ReleaseResolved(3, B, told.policy), 21)

    assert "generations 1, 2 still drain" in str(answer)
    assert "`wssctl drain 2 --within 0s` ends the emptiest, closing 1 connection," in str(answer)


def test_a_paused_empty_generation_is_not_ended_for_room() -> None:
    told = warm_and_held()
    told.tell(DrainPaused(4, 2), 20)
    told.tell(ReloadRequested(5), 20)
    (answer,) = told.tell(ReleaseResolved(3, B, told.policy), 20)

    assert "generations 1, 2 still drain" in str(answer)


@pytest.mark.parametrize(
    ("written", "scaled", "way_out"),
    [(9, None, "`wssctl scale 4` and a lower [app] workers"), (1, 9, "`wssctl scale 1` undoes")],
)
def test_where_the_workers_themselves_take_all_slots_the_refusal_says_so(
    written: int, scaled: int | None, way_out: str
) -> None:
    told = serving(replace(POLICY, workers=written))
    if scaled is not None:
        told.spawn_all(told.tell(ScaleRequested(3, scaled), 4), 4)
    told.tell(ReloadRequested(5), 10)
    (answer,) = told.tell(ReleaseResolved(1, B, told.policy), 10)

    assert "generation 1 has 9 workers, and of the 10 slots they use all but" in str(answer)
    assert way_out in str(answer)
    assert "at least 11" in str(answer)


# -- scaling --------------------------------------------------------------------------------------


def test_more_workers_get_free_slots_and_are_steered_to_when_ready() -> None:
    told = serving()
    actions = told.tell(ScaleRequested(7, 3), 20)
    told.spawn_all(actions, 20)

    assert actions == [Answer(7, Scaled(3, 2)), Spawn(worker(1, 2), A, {"ws": 12})]
    assert told.tell(WorkerReady(worker(1, 2)), 21) == [Steer(3, steered(10, 11, 12))]


def test_a_worker_that_is_scaled_away_drains() -> None:
    told = serving()
    actions = told.tell(ScaleRequested(7, 1), 20)

    assert actions == [Answer(7, Scaled(1, 2)), Steer(3, steered(10))]

    told.steer(actions, 20)
    told.look(21)
    told.census(21, {worker(1, 0): 0, worker(1, 1): 1})
    told.census(22, {worker(1, 0): 0, worker(1, 1): 0})

    assert told.census(23, {worker(1, 0): 0, worker(1, 1): 0}) == [Signal(worker(1, 1), "SIGTERM")]


def test_an_index_that_comes_back_is_another_incarnation() -> None:
    told = serving()
    told.steer(told.tell(ScaleRequested(7, 1), 20), 20)

    assert Spawn(worker(1, 1, 2), A, {"ws": 12}) in told.tell(ScaleRequested(8, 2), 21)


def test_who_shared_a_slot_with_one_scaled_away_is_replaced_elsewhere() -> None:
    """Else the one that drains would go on taking what is steered to the other."""
    told = serving(slots=SLOTS[:3])
    told.spawn_all(told.tell(ScaleRequested(7, 3), 20), 20)
    told.steer(told.tell(WorkerReady(worker(1, 2)), 21), 21)
    actions = told.tell(ScaleRequested(8, 2), 30)

    assert told.fleet.state.generations[1].workers[worker(1, 0)].state is WorkerState.DRAINING
    assert actions == [
        Answer(8, Scaled(2, 3)),
        Steer(4, steered(11)),
        Spawn(worker(1, 0, 2), A, {"ws": 11}),
    ]


def test_who_could_not_go_elsewhere_at_first_does_so_when_a_slot_is_free() -> None:
    told = serving(slots=SLOTS[:5])
    told.begin_reload(10)
    told.make_ready(2, 11)
    told.steer(told.tell(TimePassed(), 12), 12)
    told.look(12)
    told.spawn_all(told.tell(ScaleRequested(7, 3), 13), 13)
    told.steer(told.tell(WorkerReady(worker(2, 2)), 13), 13)
    told.tell(ScaleRequested(8, 1), 14)
    told.tell(WorkerExited(worker(1, 0), Exit(status=0)), 20)
    actions = told.look(20.2)

    assert told.fleet.state.generations[2].seats[0].slots["ws"] == 10
    assert Spawn(worker(2, 0, 2), B, {"ws": 10}) in actions


def test_a_sweeper_gets_nothing_of_other_listeners() -> None:
    """All ordinary slots are steered to: it is given the parking slot, where nothing comes."""
    told = Told()
    slots = {"ws": (10, 11, 12), "raw": (20, 21, 22)}
    told.fleet = Fleet([Listener(name, own) for name, own in slots.items()])
    told.queues = dict.fromkeys((*slots["ws"], *slots["raw"]), 0)
    told.steer(told.look(0), 0)
    told.look(0)
    told.spawn_all(told.tell(StartRequested(A, POLICY), 1), 1)
    told.make_ready(1, 1)
    told.steer(told.tell(TimePassed(), 2), 2)

    assert told.look(3, slot_22=1) == [Spawn(worker(1, FIRST_SWEEPER), A, {"raw": 22, "ws": 12})]


def test_a_scale_survives_reloads_until_the_file_says_something_else() -> None:
    told = serving()
    told.tell(ScaleRequested(7, 3), 20)
    told.tell(ReloadRequested(1), 21)

    assert len(told.tell(ReleaseResolved(1, B, told.policy), 21)) == 3

    told.tell(RequesterLeft(1), 22)
    told.tell(ReloadRequested(2), 23)

    assert len(told.tell(ReleaseResolved(2, B, replace(told.policy, workers=1)), 23)) == 1


# -- shared mode ----------------------------------------------------------------------------------


def shared(policy: Policy = POLICY) -> Told:
    """Generation 1 is active on the one slot 10. It is second 3."""
    told = Told(policy, (10,))
    told.fleet = Fleet([Listener("ws", (10,), shared=10)])
    told.steer(told.look(0), 0)
    told.look(0)
    told.spawn_all(told.tell(StartRequested(A, policy), 1), 1)
    told.make_ready(1, 1)
    told.steer(told.tell(TimePassed(), 2), 2)
    told.look(3)
    return told


TOLD = replace(POLICY, drain_signal="SIGUSR1", keep=0.0)
BOTH = {worker(1, 0): 0, worker(1, 1): 0}
LISTENS = {worker(1, 0): frozenset({10}), worker(1, 1): frozenset({10})}


def shared_letting_go() -> tuple[Told, list[Action]]:
    """Generation 2 is ready, and generation 1 was told to let go in second 12."""
    told = shared(TOLD)
    told.begin_reload(10)
    told.make_ready(2, 11)
    return told, told.tell(TimePassed(), 12)


def shared_draining() -> Told:
    """Generation 2 is active, and generation 1 has let go, or said so."""
    told, _ = shared_letting_go()
    told.steer(told.tell(CensusTaken(BOTH, 0, 12, {}), 12), 12)
    told.look(12)
    return told


def test_old_workers_let_a_shared_listener_go_before_the_cutover() -> None:
    told, actions = shared_letting_go()

    assert actions == [Signal(worker(1, 0), "SIGUSR1"), Signal(worker(1, 1), "SIGUSR1")]
    assert told.tell(CensusTaken(BOTH, 0, 12.5, LISTENS), 12.5) == []

    one_left = {worker(1, 1): frozenset({10})}

    assert told.tell(CensusTaken(BOTH, 0, 13, one_left), 13) == []

    (steer,) = told.tell(CensusTaken(BOTH, 0, 13.5, {}), 13.5)

    assert isinstance(steer, Steer)
    assert told.tell(Steered(steer.epoch), 13.5) == [Answer(1, CutOver(1, 2, 1, 3.5))]


def test_a_reload_fails_whose_old_workers_accept_still_and_they_keep_serving() -> None:
    told, _ = shared_letting_go()
    told.tell(CensusTaken(BOTH, 0, 14, LISTENS), 14)
    actions = told.tell(CensusTaken(BOTH, 0, 15, LISTENS), 15.1)
    old = told.fleet.state.generations[1]

    assert actions[:2] == [Signal(worker(2, 0), "SIGTERM"), Signal(worker(2, 1), "SIGTERM")]
    assert "workers 0, 1 of generation 1 still listened on 'ws' 3 s after" in str(actions[2])
    assert "SIGUSR1 ([drain] signal)" in str(actions[2])
    assert [one.state for one in old.workers.values()] == [WorkerState.READY, WorkerState.READY]
    assert told.state(15.1) is InstanceState.SERVING


def test_the_word_of_an_old_worker_that_it_let_go_is_no_proof() -> None:
    told, _ = shared_letting_go()
    said = [told.tell(SlotLetGo(worker(1, index)), 12.5) for index in (0, 1)]

    assert said == [[], []]
    assert told.tell(CensusTaken(BOTH, 0, 13, LISTENS), 13) == []
    assert isinstance(told.tell(CensusTaken(BOTH, 0, 14, {}), 14)[0], Steer)


@pytest.mark.parametrize("by", [ReadyBy.CONNECT, ReadyBy.HTTP, ReadyBy.WEBSOCKET])
def test_a_probe_that_cannot_tell_generations_apart_is_refused(by: ReadyBy) -> None:
    told = shared(TOLD)
    told.tell(ReloadRequested(1), 10)
    (answer,) = told.tell(ReleaseResolved(1, B, replace(TOLD, ready_by=by)), 10)

    assert f'[ready] by = "{by.value}" cannot tell generations apart' in str(answer)


def test_one_that_let_go_for_a_reload_that_fails_is_replaced_and_keeps_its_connections() -> None:
    told, _ = shared_letting_go()
    one_left = {worker(1, 1): frozenset({10})}
    actions = told.tell(CensusTaken(BOTH, 0, 15, one_left), 15.1)

    assert Spawn(worker(1, 0, 2), A, {"ws": 10}) in actions
    assert told.fleet.state.generations[1].workers[worker(1, 0)].state is WorkerState.SILENT


def test_without_a_way_to_let_go_a_reload_is_refused_before_anything_starts() -> None:
    told = shared()
    told.tell(ReloadRequested(1), 10)
    (answer,) = told.tell(ReleaseResolved(1, B, POLICY), 10)

    assert "Set [drain] signal" in str(answer)


def test_with_the_library_no_signal_is_needed() -> None:
    told = shared()
    for index in (0, 1):
        told.tell(WorkerJoined(worker(1, index), closes=True, lets_go=True), 5)
    told.begin_reload(10)
    told.make_ready(2, 11)

    assert told.tell(TimePassed(), 12) == [
        TellDrain(worker(1, 0), stop_accepting=True),
        TellDrain(worker(1, 1), stop_accepting=True),
    ]


def test_a_worker_in_shared_mode_is_ended_when_it_has_let_go_and_is_empty() -> None:
    told = shared_draining()
    own = {worker(1, 0): 0, worker(1, 1): 0}
    listening = {worker(1, 1): frozenset({10})}
    told.look(13, slot_10=5)
    actions = [
        action
        for at in (13, 14, 15)
        for action in told.tell(CensusTaken(own, 0, at, listening), at)
    ]

    assert actions == [Signal(worker(1, 0), "SIGTERM")]


def test_one_that_does_not_let_go_is_spoken_of_and_left_alone() -> None:
    told = shared_draining()
    listening = {worker(1, 0): frozenset({10})}
    for at in (13, 14, 16, 17, 18):
        told.tell(CensusTaken({worker(1, 0): 0}, 0, at, listening), at)
    spoken = [note for note in told.notes if note.kind is NoteKind.STILL_LISTENS]

    assert [note.fields["worker"] for note in spoken] == ["1.0.1"]
    assert told.fleet.state.generations[1].workers[worker(1, 0)].state is WorkerState.DRAINING


def test_connect_readiness_is_refused_in_shared_mode() -> None:
    told = shared()
    told.tell(ReloadRequested(1), 10)
    policy = replace(POLICY, ready_by=ReadyBy.CONNECT)
    (answer,) = told.tell(ReleaseResolved(1, B, policy), 10)

    assert "cannot tell generations apart" in str(answer)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (starting(), "starting: no generation serves yet"),
        (serving(), None),
        (draining(), None),
    ],
)
def test_ready_is_an_instance_that_serves(told: Told, why: str | None) -> None:
    assert why_not_ready(told.fleet.state) == why


def test_an_instance_is_ready_while_one_of_its_workers_is() -> None:
    told = serving()
    told.tell(WorkerExited(worker(1, 0), Exit(1)), 10)
    with_one = why_not_ready(told.fleet.state)
    told.tell(WorkerExited(worker(1, 1), Exit(1)), 10)

    assert with_one is None
    assert why_not_ready(told.fleet.state) == "no worker of generation 1 is ready"


def test_an_instance_that_stops_is_not_ready() -> None:
    told = serving()
    told.tell(StopRequested(None), 10)

    assert why_not_ready(told.fleet.state) == "stopping"


# -- slots with a packet filter that a worker locked ---------------------------------------------


def test_a_deaf_slot_is_given_to_no_candidate() -> None:
    told = serving()
    told.tell(Observed(dict(told.queues), 9, frozenset({12})), 9)
    told.tell(ReloadRequested(1), 10)
    spawns = told.tell(ReleaseResolved(1, B, POLICY), 10)

    assert spawns == [
        Spawn(worker(2, 0), B, {"ws": 13}),
        Spawn(worker(2, 1), B, {"ws": 14}),
    ]


def test_a_respawn_leaves_a_deaf_slot() -> None:
    told = serving()
    told.tell(Observed(dict(told.queues), 9, frozenset({10})), 9)
    actions = told.tell(WorkerExited(worker(1, 0), Exit(status=1)), 50)

    assert Spawn(worker(1, 0, 2), A, {"ws": 12}) in actions


def test_a_reload_is_refused_when_all_free_slots_are_deaf() -> None:
    told = serving()
    deaf = frozenset(told.queues) - {10, 11, PARKING}
    told.tell(Observed(dict(told.queues), 9, deaf), 9)
    told.tell(ReloadRequested(1), 10)
    (answer,) = told.tell(ReleaseResolved(1, B, POLICY), 10)

    assert f"on {len(deaf)} slots a worker locked a packet filter" in str(answer)
