"""Room for one more generation: refusals that name the way out, and which drain ends early."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    SLOTS,
    A,
    B,
    Driven,
    draining,
    failures,
    serving,
    spawns,
    steered,
    worker,
)
from wssupervisor.fleet import capacity
from wssupervisor.fleet.actions import Action, Answer, CutOver, Spawn, Steer
from wssupervisor.fleet.events import (
    DrainLimited,
    DrainPaused,
    Observed,
    ReleaseResolved,
    ReloadRequested,
    ScaleRequested,
    StartRequested,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import (
    Exit,
    Policy,
    WhenFull,
    WorkerState,
)
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import Signal
from wssupervisor.fleet.view import view


def test_too_many_draining_generations_refuse_the_next() -> None:
    fleet = draining(replace(POLICY, max_draining=1))
    fleet.handle(ReloadRequested(8), 20)
    (answer,) = fleet.handle(ReleaseResolved(2, B, fleet.policy), 20)

    assert "`wssctl drain 1 --within 0s`" in str(answer)


def crowded(
    policy: Policy = POLICY, request: int = 5, *, make_room: bool = False
) -> tuple[Driven, list[Action]]:
    """Generation 1 drains with 3 connections, only one may, and a reload has its release."""
    fleet = draining(replace(policy, max_draining=1))
    fleet.census(13, {worker(1, 0): 3, worker(1, 1): 0})
    fleet.handle(ReloadRequested(request, make_room=make_room), 20)
    return fleet, fleet.handle(ReleaseResolved(2, B, fleet.policy), 20)


def test_without_room_a_reload_is_refused_and_the_way_out_named() -> None:
    _, actions = crowded()

    assert "`wssctl drain 1 --within 0s`" in str(actions)
    assert "--make-room" in str(actions)


@pytest.mark.parametrize("how", ["policy", "request"])
def test_the_oldest_ends_early_only_once_its_clients_find_the_new_generation(how: str) -> None:
    hurry = replace(POLICY, when_full=WhenFull.END_OLDEST)
    fleet, actions = crowded(hurry) if how == "policy" else crowded(make_room=True)
    fleet.spawn_all(actions, 20)
    ready = fleet.make_ready(3, 21)

    assert [one for one in actions + ready if not isinstance(one, Spawn)] == []
    steer = fleet.handle(TimePassed(), 22)
    assert steer == [Steer(4, steered(14, 15))]
    assert [one for one in fleet.steer(steer, 22) if isinstance(one, Signal)] == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_a_bad_release_costs_no_connection_for_want_of_room() -> None:
    fleet, actions = crowded(make_room=True)
    fleet.spawn_all(actions, 20)
    fleet.handle(WorkerExited(worker(3, 0), Exit(status=1)), 21)

    assert fleet.state.verdict is not None
    assert not fleet.state.verdict.ok
    assert [one.state for one in fleet.state.generations[1].workers.values()] == [
        WorkerState.DRAINING,
        WorkerState.DRAINING,
    ]


def test_without_any_free_slot_the_oldest_is_ended_first_and_waited_for() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.steer(fleet.handle(TimePassed(), 12), 12)
    fleet.look(12)
    fleet.handle(ReloadRequested(5, make_room=True), 20)

    assert fleet.handle(ReleaseResolved(2, B, fleet.policy), 20) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]

    fleet.handle(WorkerExited(worker(1, 0), Exit(status=0)), 21)

    assert fleet.look(21.2) == [
        Spawn(worker(3, 0), B, {"ws": 10}),
        Spawn(worker(3, 1), B, {"ws": 10}),
    ]


def warm_and_held(keep: float = 100.0, max_draining: int = 2) -> Driven:
    """Generation 1 drains with 20 connections, 2 is empty and kept warm, 3 is active: second 20."""
    fleet = serving(replace(POLICY, keep=keep, max_draining=max_draining))
    for generation, at in ((2, 10), (3, 15)):
        fleet.begin_reload(at, request=None)
        fleet.make_ready(generation, at)
        fleet.steer(fleet.handle(TimePassed(), at + 1), at + 1)
        fleet.look(at + 1)
    counts = {worker(1, 0): 20, worker(1, 1): 0, worker(2, 0): 0, worker(2, 1): 0}
    for at in (18, 19):
        fleet.census(at, counts)
    return fleet


def test_an_empty_generation_that_is_kept_warm_refuses_no_reload_and_is_ended_for_it() -> None:
    fleet = warm_and_held()
    fleet.begin_reload(20)
    fleet.make_ready(4, 20)
    actions = fleet.steer(fleet.handle(TimePassed(), 21), 21)

    assert [one for one in actions if isinstance(one, Signal)] == [
        Signal(worker(2, 0), "SIGTERM"),
        Signal(worker(2, 1), "SIGTERM"),
    ]
    (hurried,) = [one for one in fleet.notes if one.kind is NoteKind.DRAIN_CUT_SHORT]
    assert hurried.fields == {"generation": 2, "connections": 0}
    assert actions[0] == Answer(1, CutOver(3, 4, 3, 1))


def test_a_reload_that_may_cut_ends_the_empty_one_all_the_same() -> None:
    fleet = warm_and_held()
    fleet.handle(ReloadRequested(1, make_room=True), 20)
    fleet.spawn_all(fleet.handle(ReleaseResolved(3, B, fleet.policy), 20), 20)
    fleet.make_ready(4, 20)
    actions = fleet.steer(fleet.handle(TimePassed(), 21), 21)
    ended = [one for one in actions if isinstance(one, Signal)]

    assert {one.worker.generation for one in ended} == {2}


def test_without_a_free_slot_the_empty_one_gives_its_own() -> None:
    fleet = serving(replace(POLICY, keep=100.0), slots=SLOTS[:5])
    fleet.begin_reload(10, request=None)
    fleet.make_ready(2, 10)
    fleet.steer(fleet.handle(TimePassed(), 11), 11)
    fleet.look(11)
    for at in (18, 19):
        fleet.census(at, {worker(1, 0): 0, worker(1, 1): 0})
    fleet.handle(ReloadRequested(5), 20)

    assert fleet.handle(ReleaseResolved(2, B, fleet.policy), 20) == [
        Signal(worker(1, 0), "SIGTERM"),
        Signal(worker(1, 1), "SIGTERM"),
    ]


def test_with_connections_everywhere_the_refusal_names_the_generation_with_the_fewest() -> None:
    fleet = warm_and_held()
    fleet.census(20, {worker(2, 0): 1})
    fleet.handle(ReloadRequested(5), 21)
    (answer,) = fleet.handle(ReleaseResolved(3, B, fleet.policy), 21)

    assert "generations 1, 2 still drain" in str(answer)
    assert "End the emptiest, closing 1 connection, with `wssctl drain 2 --within 0s`" in str(
        answer
    )


def test_a_paused_empty_generation_is_not_ended_for_room() -> None:
    fleet = warm_and_held()
    fleet.handle(DrainPaused(4, 2), 20)
    fleet.handle(ReloadRequested(5), 20)
    (answer,) = fleet.handle(ReleaseResolved(3, B, fleet.policy), 20)

    assert "generations 1, 2 still drain" in str(answer)


@pytest.mark.parametrize(
    ("written", "scaled", "way_out"),
    [
        (9, None, "Run `wssctl scale 4` and lower [app] workers"),
        (1, 9, "Undo the scaling with `wssctl scale 1`"),
    ],
)
def test_if_the_workers_themselves_take_all_slots_the_refusal_names_that(
    written: int, scaled: int | None, way_out: str
) -> None:
    fleet = serving(replace(POLICY, workers=written))
    if scaled is not None:
        fleet.spawn_all(fleet.handle(ScaleRequested(3, scaled), 4), 4)
    fleet.handle(ReloadRequested(5), 10)
    (answer,) = fleet.handle(ReleaseResolved(1, B, fleet.policy), 10)

    assert "generation 1 (workers: 9) uses all 10 slots except" in str(answer)
    assert way_out in str(answer)
    assert "at least 11" in str(answer)


def test_a_reload_is_refused_when_all_free_slots_are_deaf() -> None:
    fleet = serving()
    deaf = frozenset(fleet.queues) - {10, 11, PARKING}
    fleet.handle(Observed(dict(fleet.queues), 9, deaf), 9)
    fleet.handle(ReloadRequested(1), 10)
    (answer,) = fleet.handle(ReleaseResolved(1, B, POLICY), 10)

    assert f"on {len(deaf)} slots a worker locked a packet filter" in str(answer)


def test_without_a_free_slot_the_refusal_names_the_generations_that_hold_them() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)
    fleet.census(12, {worker(1, 0): 1, worker(1, 1): 0})
    fleet.handle(ReloadRequested(5), 20)
    (reason,) = failures(fleet.handle(ReleaseResolved(2, B, fleet.policy), 20))

    assert "no slot of listener 'ws' is free: held by generation 1. " in reason
    assert "End it, closing 1 connection, with `wssctl drain 1 --within 0s` " in reason


def test_workers_that_were_scaled_away_hold_slots_as_the_refusal_says() -> None:
    fleet = serving(replace(POLICY, workers=3), slots=SLOTS[:4])
    fleet.steer(fleet.handle(ScaleRequested(7, 1), 10), 10)
    fleet.census(11, {worker(1, 1): 1, worker(1, 2): 1})
    fleet.handle(ReloadRequested(5), 20)
    (reason,) = failures(fleet.handle(ReleaseResolved(1, B, fleet.policy), 20))

    assert (
        "held by generation 1. End its draining workers with `wssctl drain 1 --within 0s`" in reason
    )


def test_without_anything_to_end_the_refusal_asks_for_more_slots() -> None:
    fleet = serving(slots=SLOTS[:5])
    occupied = frozenset(SLOTS[2:5])
    fleet.handle(Observed(dict(fleet.queues), 9, occupied=occupied), 9)
    fleet.handle(ReloadRequested(5), 10)
    (reason,) = failures(fleet.handle(ReleaseResolved(1, B, fleet.policy), 10))

    assert reason.startswith("no slot of listener 'ws' is free. Give the socket unit more ")


def test_one_deaf_slot_is_named_in_the_singular() -> None:
    fleet = serving(slots=SLOTS[:4])
    fleet.handle(Observed(dict(fleet.queues), 9, frozenset({12})), 9)
    fleet.handle(ReloadRequested(5), 10)
    (reason,) = failures(fleet.handle(ReleaseResolved(1, B, fleet.policy), 10))

    assert "on 1 slot a worker locked a packet filter" in reason


def test_deaf_slots_that_a_drain_holds_are_not_the_reason() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)
    fleet.census(12, {worker(1, 0): 1, worker(1, 1): 1})
    fleet.handle(Observed(dict(fleet.queues), 9, frozenset({10})), 13)
    fleet.handle(ReloadRequested(5), 20)
    (reason,) = failures(fleet.handle(ReleaseResolved(2, B, fleet.policy), 20))

    assert "held by generation 1" in reason


@pytest.mark.parametrize(
    ("workers", "scaled", "way_out"),
    [
        (9, None, "`wssctl scale 4` "),
        (3, 9, "Undo the scaling with `wssctl scale 3`"),
        (8, 9, "Undo the scaling with `wssctl scale 8`"),
        (9, 10, "`wssctl scale 4` "),
    ],
)
def test_the_way_out_of_too_many_workers_is_fewer_of_them(
    workers: int, scaled: int | None, way_out: str
) -> None:
    fleet = serving(replace(POLICY, workers=workers))
    if scaled is not None:
        fleet.spawn_all(fleet.handle(ScaleRequested(3, scaled), 4), 4)
    fleet.handle(ReloadRequested(5), 10)
    (reason,) = failures(fleet.handle(ReleaseResolved(1, B, fleet.policy), 10))

    assert way_out in reason
    assert "1 worker" not in reason


def test_two_slots_are_enough_for_one_worker_and_none_besides() -> None:
    fleet = serving(replace(POLICY, workers=1), slots=SLOTS[:2])
    fleet.handle(ReloadRequested(5), 10)
    (reason,) = failures(fleet.handle(ReleaseResolved(1, B, fleet.policy), 10))

    assert "Run `wssctl scale 1` and lower [app] workers" in reason
    assert "at least 3" in reason


def test_with_one_slot_to_spare_it_is_not_the_workers_that_take_all() -> None:
    fleet = serving(replace(POLICY, workers=8))
    fleet.handle(ReloadRequested(5), 10)

    assert len(spawns(fleet.handle(ReleaseResolved(1, B, fleet.policy), 10))) == 8


def paused(fleet: Driven, *generations: int) -> Driven:
    for number in generations:
        fleet.handle(DrainPaused(4, number), 20)
    return fleet


def test_paused_drains_cannot_make_room_and_the_refusal_says_how_to_resume_one() -> None:
    fleet = warm_and_held()
    fleet.census(20, {worker(2, 0): 1})
    paused(fleet, 1, 2)
    fleet.handle(ReloadRequested(5, make_room=True), 20)
    (reason,) = failures(fleet.handle(ReleaseResolved(3, B, fleet.policy), 20))

    assert "generations 1, 2 cannot be" in reason
    assert "Resume the drain of the emptiest with `wssctl drain 2 --resume`" in reason


def test_while_one_drain_is_not_paused_it_makes_room() -> None:
    fleet = warm_and_held()
    fleet.census(20, {worker(2, 0): 1})
    paused(fleet, 2)
    fleet.handle(ReloadRequested(5, make_room=True), 20)
    fleet.spawn_all(fleet.handle(ReleaseResolved(3, B, fleet.policy), 20), 20)
    fleet.make_ready(4, 20)
    actions = fleet.steer(fleet.handle(TimePassed(), 21), 21)

    assert {one.worker.generation for one in actions if isinstance(one, Signal)} == {1}
    assert fleet.fields(NoteKind.DRAIN_CUT_SHORT) == [{"generation": 1, "connections": 20}]


def test_without_leave_to_end_connections_only_an_empty_generation_makes_room() -> None:
    fleet = warm_and_held(max_draining=3)
    fleet.begin_reload(20)
    fleet.policy = replace(fleet.policy, max_draining=1)
    fleet.state.generations[4].policy = fleet.policy
    fleet.make_ready(4, 20)
    actions = fleet.steer(fleet.handle(TimePassed(), 21), 21)

    assert {one.worker.generation for one in actions if isinstance(one, Signal)} == {2}
    assert fleet.fields(NoteKind.DRAIN_CUT_SHORT) == [{"generation": 2, "connections": 0}]


def test_with_room_for_all_no_generation_ends_early() -> None:
    fleet = warm_and_held(max_draining=3)
    fleet.deploy(4, 20)

    assert fleet.fields(NoteKind.DRAIN_CUT_SHORT) == []


def test_as_many_end_early_as_are_too_many() -> None:
    fleet = warm_and_held(max_draining=3)
    fleet.handle(ReloadRequested(5, make_room=True), 20)
    fleet.policy = replace(fleet.policy, max_draining=1)
    fleet.spawn_all(fleet.handle(ReleaseResolved(3, B, fleet.policy), 20), 20)
    fleet.make_ready(4, 20)
    actions = fleet.steer(fleet.handle(TimePassed(), 21), 21)

    assert {one.worker.generation for one in actions if isinstance(one, Signal)} == {1, 2}


def test_a_generation_that_ends_already_counts_as_room() -> None:
    fleet = warm_and_held()
    fleet.handle(DrainLimited(9, 1, 0.0), 20)
    fleet.begin_reload(20)
    fleet.make_ready(4, 20)
    fleet.steer(fleet.handle(TimePassed(), 21), 21)

    assert fleet.fields(NoteKind.DRAIN_CUT_SHORT) == []


def test_while_a_worker_is_ending_a_reload_waits_for_its_slot() -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)
    fleet.census(12, {worker(1, 0): 1, worker(1, 1): 1})
    fleet.handle(DrainLimited(9, 1, 0.0), 13)
    fleet.handle(ReloadRequested(5), 14)

    assert fleet.handle(ReleaseResolved(2, B, fleet.policy), 14) == []
    assert (
        view(fleet.state, 14).waits_for == "a free slot, which workers that are ending still hold"
    )

    fleet.handle(WorkerExited(worker(1, 0), Exit(0)), 15)
    fleet.handle(WorkerExited(worker(1, 1), Exit(0)), 15)

    assert len(spawns(fleet.look(15.2))) == 2


def test_a_generation_that_would_need_a_slot_ends_the_emptiest_that_drains() -> None:
    fleet = serving(replace(POLICY, keep=100.0), slots=SLOTS[:7])
    for generation, at in ((2, 10), (3, 15)):
        fleet.deploy(generation, at)
    for at in (18, 19):
        fleet.census(at, {worker(1, 0): 9, worker(1, 1): 0, worker(2, 0): 2, worker(2, 1): 0})
    fleet.handle(ReloadRequested(5, make_room=True), 20)
    actions = fleet.handle(ReleaseResolved(3, B, fleet.policy), 20)

    assert [one.worker for one in actions if isinstance(one, Signal)] == [
        worker(2, 0),
        worker(2, 1),
    ]


def test_a_start_without_any_slot_that_clients_reach_fails_with_the_reason() -> None:
    fleet = Driven()
    fleet.handle(Observed(dict(fleet.queues), 9, frozenset(SLOTS[:-1])), 9)
    fleet.handle(StartRequested(A, POLICY), 10)

    assert fleet.state.stop is not None
    assert "no slot of listener 'ws' can be used" in str(fleet.state.stop.reason)


@pytest.mark.parametrize("why", ["ending", "unheld", "hurried", "none"])
def test_a_slot_will_be_free_soon_for_each_reason_alone(why: str) -> None:
    fleet = serving(slots=SLOTS[:5])
    fleet.deploy(2, 10)
    state = fleet.state
    match why:
        case "ending":
            fleet.living(worker(1, 0)).state = WorkerState.STOPPING
        case "unheld":
            del state.generations[1].workers[worker(1, 0)]
        case "hurried":
            for one in state.generations[1].workers.values():
                assert one.drain is not None
                one.drain.deadline = 12.0

    assert capacity.comes(state, 12.0) is (why != "none")


def test_half_of_the_slots_but_the_parking_slot_leave_room_for_a_reload() -> None:
    fleet = serving(replace(POLICY, workers=8), slots=SLOTS[:9])
    fleet.handle(ReloadRequested(5), 10)
    (reason,) = failures(fleet.handle(ReleaseResolved(1, B, fleet.policy), 10))

    assert "`wssctl scale 4` " in reason
