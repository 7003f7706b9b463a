"""Another program continues: after an upgrade, and in place of a supervisor that died."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    POLICY,
    A,
    B,
    Driven,
    draining,
    failures,
    library,
    serving,
    shared,
    starting,
    worker,
)
from wssupervisor.fleet.actions import Action, JudgeLeftover, Probe, Resolve, Spawn, Steer
from wssupervisor.fleet.events import (
    LeaveRequested,
    MainProcessEnded,
    ProbePassed,
    Recovered,
    Reexecuted,
    ReleaseResolved,
    ReloadRequested,
    ScaleRequested,
    Spawned,
    StopRequested,
    TimePassed,
    WorkerAlive,
    WorkerExited,
)
from wssupervisor.fleet.model import Exit, ReadyBy, Table, WorkerId
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import SendDrain, Signal
from wssupervisor.fleet.resuming import can_recover, why_not

BOTH = {worker(1, 0): 1000, worker(1, 1): 1001}
ALL = {**BOTH, worker(2, 0): 1000, worker(2, 1): 1001}


def died(
    fleet: Driven,
    now: float,
    running: dict[WorkerId, int] = BOTH,
    gone: tuple[WorkerId, ...] = (),
    **more: object,
) -> list[Action]:
    event = Recovered("0.2.0", "0.1.0", running, {one: Exit() for one in gone})
    return fleet.handle(replace(event, **more), now)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fleet", "why"),
    [
        (starting(), "the instance has not started yet"),
        (serving(), None),
    ],
)
def test_only_an_instance_that_serves_can_be_upgraded_or_recovered(
    fleet: Driven, why: str | None
) -> None:
    assert why_not(fleet.state) == why
    assert can_recover(fleet.state) is (why is None)


def test_an_instance_that_stops_can_be_neither_upgraded_nor_recovered() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(StopRequested(None), 10), 10)

    assert why_not(fleet.state) == "the instance is stopping"
    assert not can_recover(fleet.state)

    for one in BOTH:
        fleet.handle(WorkerExited(one, Exit(0)), 11)
    fleet.state.stop = None

    assert not can_recover(fleet.state), "it has ended"


def test_an_upgrade_is_reported_with_both_versions() -> None:
    fleet = serving()

    assert fleet.handle(Reexecuted("0.2.0", "0.1.0"), 10) == []
    assert fleet.fields(NoteKind.REEXECUTED) == [{"version": "0.2.0", "before": "0.1.0"}]


def test_after_an_upgrade_the_release_of_a_reload_is_read_again() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(5), 10)

    assert fleet.handle(Reexecuted("2", "1"), 11) == [Resolve(1)]

    fleet.handle(ReleaseResolved(1, B, POLICY), 12)

    assert fleet.handle(Reexecuted("2", "1"), 13) == []


def test_after_an_upgrade_candidates_are_probed_again_and_leftovers_judged() -> None:
    fleet = serving(replace(POLICY, ready_by=ReadyBy.CONNECT))
    fleet.begin_reload(10)
    fleet.handle(ProbePassed(worker(2, 0)), 11)
    fleet.handle(MainProcessEnded(worker(1, 0), Exit(1)), 11)
    actions = fleet.handle(Reexecuted("2", "1"), 12)

    assert [one for one in actions if isinstance(one, Probe | JudgeLeftover)] == [
        JudgeLeftover(worker(1, 0), {"ws": 10}, drain_signalled=False),
        Probe(worker(2, 1), {"ws": 13}),
    ]


def test_a_recovery_is_reported_with_what_was_found() -> None:
    fleet = serving()
    died(fleet, 10, {worker(1, 1): 1001}, (worker(1, 0),))

    assert fleet.fields(NoteKind.RECOVERED) == [
        {"version": "0.2.0", "before": "0.1.0", "workers": 1, "gone": 1}
    ]


def test_after_a_death_the_table_in_force_is_asked_for_again_and_no_slot_is_free_before() -> None:
    fleet = serving()
    (steer,) = died(fleet, 10)

    assert steer == Steer(3, Table({"ws": {10: 1, 11: 1}}))
    assert {watch.left_epoch for watch in fleet.state.slots.values()} == {3}
    assert fleet.state.steering.current is None

    fleet.steer([steer], 10)

    assert fleet.state.steering.current == Table({"ws": {10: 1, 11: 1}})


def test_a_refused_table_is_asked_for_again_at_once_after_a_death() -> None:
    fleet = serving()
    fleet.state.steering.retry_at = 20
    died(fleet, 10)

    assert fleet.state.steering.retry_at is None


def test_a_table_that_was_on_its_way_is_asked_for_again() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1), Exit(1)), 9)

    assert [one for one in died(fleet, 10) if isinstance(one, Steer)] == [
        Steer(4, Table({"ws": {11: 1}}))
    ]


def test_a_reload_before_its_cutover_fails_without_an_answer() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    running = {**BOTH, worker(2, 0): 1000, worker(2, 1): 1001}
    actions = died(fleet, 11, running)

    assert failures(actions) == []
    assert fleet.state.reload is None
    assert fleet.state.verdict is not None
    assert fleet.state.verdict.reason == "the supervisor died while it was under way"
    assert [one.worker.generation for one in actions if isinstance(one, Signal)] == [2, 2]


def test_a_reload_whose_table_may_be_in_force_is_completed_without_an_answer() -> None:
    fleet = serving()
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    running = {**BOTH, worker(2, 0): 1000, worker(2, 1): 1001}
    (steer,) = died(fleet, 13, running)

    assert fleet.cutovers[-1] == fleet.cutovers[-2] is not None, "its candidate is checked again"
    assert fleet.steer([steer], 13) == []
    assert fleet.state.active is not None
    assert fleet.state.active.number == 2
    assert fleet.state.verdict is not None
    assert fleet.state.verdict.ok


def test_a_leave_goes_on_without_those_who_waited_and_its_proof_begins_again() -> None:
    fleet = serving()
    fleet.handle(LeaveRequested(5, lead=1.0), 10)
    fleet.census(12, {worker(1, 0): 0})
    assert fleet.state.out_of_rotation is not None
    assert fleet.state.out_of_rotation.empty_rounds == 1
    died(fleet, 13)

    assert (fleet.state.out_of_rotation.waiting, fleet.state.out_of_rotation.empty_rounds) == (
        [],
        0,
    )


def test_a_spawn_that_the_death_left_open_is_repeated() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1), Exit(1)), 9)
    actions = died(fleet, 10, {worker(1, 1): 1001})

    assert [one for one in actions if isinstance(one, Spawn)] == [
        Spawn(worker(1, 0, 2), A, {"ws": 10})
    ]


def test_a_spawn_that_has_happened_is_taken_for_done() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1), Exit(1)), 9)
    actions = died(fleet, 10, {worker(1, 0, 2): 77, worker(1, 1): 1001})

    assert not any(isinstance(one, Spawn) for one in actions)
    assert fleet.living(worker(1, 0, 2)).pid == 77
    assert fleet.fields(NoteKind.WORKER_SPAWNED)[-1]["pid"] == 77


def test_a_worker_without_a_pid_that_must_end_is_not_spawned_again() -> None:
    fleet = serving()
    fleet.handle(ReloadRequested(5), 10)
    fleet.handle(ReleaseResolved(1, B, POLICY), 10)
    actions = died(fleet, 11)

    assert not any(isinstance(one, Spawn) for one in actions), "its reload has failed"


def test_candidates_of_nothing_are_probed_again_and_leftovers_judged() -> None:
    fleet = serving(replace(POLICY, ready_by=ReadyBy.CONNECT))
    fleet.handle(MainProcessEnded(worker(1, 0), Exit(1)), 9)
    fleet.spawn_all([Spawn(worker(1, 0, 2), A, {"ws": 12})], 9)
    actions = died(fleet, 10, {**BOTH, worker(1, 0, 2): 1000})

    assert [one for one in actions if isinstance(one, Probe | JudgeLeftover)] == [
        JudgeLeftover(worker(1, 0), {"ws": 10}, drain_signalled=False),
        Probe(worker(1, 0, 2), {"ws": 12}),
    ]


def test_limits_of_the_start_and_of_signs_of_life_begin_again_at_the_recovery() -> None:
    fleet = serving(replace(POLICY, watchdog=5.0))
    fleet.handle(WorkerAlive(worker(1, 1)), 9)
    fleet.spawn_all(fleet.handle(WorkerExited(worker(1), Exit(1)), 9), 9)
    died(fleet, 30, {worker(1, 0, 2): 1000, worker(1, 1): 1001})

    assert fleet.living(worker(1, 0, 2)).ready_by == 30 + POLICY.ready_timeout
    assert fleet.living(worker(1, 1)).alive_at == 30
    assert fleet.living(worker(1, 0, 2)).alive_at is None
    assert fleet.living(worker(1, 1)).ready_by is None


def test_the_proof_that_a_worker_is_empty_begins_again() -> None:
    fleet = draining()
    fleet.census(18, {worker(1, 0): 0, worker(1, 1): 3})
    steer = died(fleet, 19, ALL)
    fleet.steer(steer, 19)
    fleet.look(19)

    assert fleet.census(20, {worker(1, 0): 0, worker(1, 1): 3}) == []
    assert fleet.census(21, {worker(1, 0): 0, worker(1, 1): 3}) == [Signal(worker(1, 0), "SIGTERM")]


def test_orders_that_the_death_left_open_are_repeated_to_workers_that_live() -> None:
    fleet = serving()
    fleet.handle(library(worker(1, 1)), 5)
    orders = (
        SendDrain(worker(1, 0), stop_accepting=False),
        SendDrain(worker(1, 1), stop_accepting=False),
        SendDrain(worker(4, 1), stop_accepting=False),
    )
    actions = died(fleet, 10, {worker(1, 1): 1001, worker(4, 1): 9}, (worker(1, 0),), orders=orders)

    assert [one for one in actions if isinstance(one, SendDrain)] == [orders[1]]


def test_a_worker_that_died_has_no_channel() -> None:
    fleet = draining()
    fleet.handle(library(worker(1, 0)), 13)
    running = {one: pid for one, pid in ALL.items() if one != worker(1, 0)}
    actions = died(fleet, 14, running, (worker(1, 0),))

    assert not any(getattr(one, "worker", None) == worker(1, 0) for one in actions)
    assert fleet.state.worker(worker(1, 0)) is None


def test_lost_sockets_are_replaced_everywhere() -> None:
    fleet = serving()
    fleet.look(4, slot_17=1)
    sweeper = worker(1, 1000)
    fleet.spawn_all([Spawn(sweeper, A, {})], 4)
    running = {**BOTH, sweeper: 9}
    (steer,) = died(fleet, 10, running, exchanged={10: 510, 17: 517, 19: 519})

    assert steer == Steer(3, Table({"ws": {510: 1, 11: 1}}))
    assert fleet.state.listeners["ws"].slots == (
        510, 11, 12, 13, 14, 15, 16, 517, 18, 519,
    )  # fmt: skip
    assert fleet.living(worker(1)).slots == {"ws": 510}
    assert fleet.living(worker(1, 1)).slots == {"ws": 11}
    assert fleet.living(sweeper).sweeps == 517
    assert fleet.state.generations[1].seats[0].slots == {"ws": 510}
    assert fleet.state.slots.keys() == set(fleet.state.listeners["ws"].slots)
    assert fleet.state.slots[517].queued == 0, "the clients of the old one are lost"


def test_a_lost_shared_socket_stays_shared() -> None:
    fleet = shared()
    died(fleet, 10, exchanged={10: 510})

    assert fleet.state.shared(510)
    assert fleet.state.listeners["ws"].slots == (510,)


def test_a_table_that_was_on_its_way_names_the_new_sockets() -> None:
    fleet = serving()
    fleet.handle(ScaleRequested(5, 1), 9)
    steers = [one for one in died(fleet, 10, exchanged={10: 510}) if isinstance(one, Steer)]

    assert [one.table for one in steers] == [Table({"ws": {510: 1}})]


def test_clients_keep_their_worker_over_an_exchange() -> None:
    fleet = serving(replace(POLICY, by_client=("ws",)))
    (steer,) = died(fleet, 10, exchanged={10: 510})

    assert isinstance(steer, Steer)
    assert steer.table.by_client == ("ws",)


def test_without_any_table_so_far_none_is_asked_for_again() -> None:
    fleet = serving()
    fleet.state.steering.current = None
    actions = died(fleet, 10)

    assert [one.epoch for one in actions if isinstance(one, Steer)] == [3], "the wanted one"
    assert fleet.handle(Spawned(worker(1), 1000), 11) == []


def test_a_recovery_counts_those_that_run_and_those_that_are_gone() -> None:
    fleet = draining()
    running = {one: pid for one, pid in ALL.items() if one != worker(1, 0)}
    died(fleet, 14, running, (worker(1, 0),))
    (recovered,) = fleet.fields(NoteKind.RECOVERED)

    assert (recovered["workers"], recovered["gone"]) == (3, 1)
