"""Room for one more generation: refusals that name the way out, and which drain ends early."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    PARKING,
    POLICY,
    SLOTS,
    B,
    Driven,
    draining,
    serving,
    steered,
    worker,
)
from wssupervisor.fleet.actions import Action, Answer, CutOver, Spawn, Steer
from wssupervisor.fleet.events import (
    DrainPaused,
    Observed,
    ReleaseResolved,
    ReloadRequested,
    ScaleRequested,
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
    assert "`wssctl drain 2 --within 0s` ends the emptiest, closing 1 connection," in str(answer)


def test_a_paused_empty_generation_is_not_ended_for_room() -> None:
    fleet = warm_and_held()
    fleet.handle(DrainPaused(4, 2), 20)
    fleet.handle(ReloadRequested(5), 20)
    (answer,) = fleet.handle(ReleaseResolved(3, B, fleet.policy), 20)

    assert "generations 1, 2 still drain" in str(answer)


@pytest.mark.parametrize(
    ("written", "scaled", "way_out"),
    [(9, None, "`wssctl scale 4` and a lower [app] workers"), (1, 9, "`wssctl scale 1` undoes")],
)
def test_if_the_workers_themselves_take_all_slots_the_refusal_names_that(
    written: int, scaled: int | None, way_out: str
) -> None:
    fleet = serving(replace(POLICY, workers=written))
    if scaled is not None:
        fleet.spawn_all(fleet.handle(ScaleRequested(3, scaled), 4), 4)
    fleet.handle(ReloadRequested(5), 10)
    (answer,) = fleet.handle(ReleaseResolved(1, B, fleet.policy), 10)

    assert "generation 1 has 9 workers, and of the 10 slots they use all but" in str(answer)
    assert way_out in str(answer)
    assert "at least 11" in str(answer)


def test_a_reload_is_refused_when_all_free_slots_are_deaf() -> None:
    fleet = serving()
    deaf = frozenset(fleet.queues) - {10, 11, PARKING}
    fleet.handle(Observed(dict(fleet.queues), 9, deaf), 9)
    fleet.handle(ReloadRequested(1), 10)
    (answer,) = fleet.handle(ReleaseResolved(1, B, POLICY), 10)

    assert f"on {len(deaf)} slots a worker locked a packet filter" in str(answer)
