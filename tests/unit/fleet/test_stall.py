"""Workers that stop accepting: steered away from, replaced, or given their place back."""

from dataclasses import replace
from itertools import pairwise
from math import inf

from tests.unit.fleet.driven import STALLS, A, B, Driven, draining, looks, serving, steered, worker
from wssupervisor.fleet.actions import Action, Spawn, Steer
from wssupervisor.fleet.events import (
    CensusTaken,
    Spawned,
    Steered,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    Policy,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.orders import Signal
from wssupervisor.fleet.state import FIRST_SWEEPER
from wssupervisor.fleet.view import view


def stalled(policy: Policy = STALLS) -> tuple[Driven, list[Action]]:
    """Worker 0 has not accepted from second 10 to 20, and what was wanted at second 20."""
    fleet = serving(policy)
    actions = looks(fleet, 10, 19.5, slot_10=1)
    for action in actions:
        if isinstance(action, Steer):
            fleet.handle(Steered(action.epoch), 19.5)
    assert [one for one in actions if not isinstance(one, Steer)] == []
    return fleet, fleet.look(20)


def kinds(fleet: Driven) -> list[str]:
    return [
        one.kind.value for one in fleet.notes if one.kind.value.startswith(("stall", "worker-"))
    ]


def test_a_stalled_worker_is_steered_away_from_and_keeps_its_seat() -> None:
    fleet = serving()

    assert looks(fleet, 10, 15, slot_10=1) == [Steer(3, steered(11))]
    assert view(fleet.state, 15).generations[0].workers[0].state is WorkerState.STALLED
    assert fleet.state.generations[1].seats[0].worker == worker(1)


def test_one_that_accepts_again_is_steered_to_again_and_nothing_else_happens() -> None:
    fleet = serving()
    fleet.steer(looks(fleet, 10, 15, slot_10=3), 15)

    assert fleet.look(15.5, slot_10=2) == [Steer(4, steered(10, 11))]
    assert kinds(fleet)[-2:] == ["worker-stalled", "worker-accepts"]
    assert fleet.state.generations[1].seats[0].failures == 0


def test_a_census_that_finds_more_connections_shows_an_accept_though_the_queue_is_full() -> None:
    fleet = serving(STALLS)
    looks(fleet, 10, 15, slot_10=4097)
    fleet.census(15, {worker(1): 7})  # they may have been there before

    assert kinds(fleet)[-1] == "worker-stalled"

    fleet.census(16, {worker(1): 8})

    assert kinds(fleet)[-1] == "worker-accepts"


def test_one_that_does_not_accept_for_long_is_replaced_and_steered_to_until_that_is_ready() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)

    assert actions == [Spawn(worker(1, 0, 2), A, {"ws": 11})]
    assert looks(fleet, 20.5, 25) == []
    assert fleet.handle(WorkerReady(worker(1, 0, 2)), 25) == [
        Steer(3, steered(11)),
        Spawn(worker(1, FIRST_SWEEPER), A, {"ws": 10}),
    ]
    assert fleet.state.generations[1].workers[worker(1)].state is WorkerState.STALLED


def test_one_that_accepts_before_its_replacement_is_ready_has_its_seat_back() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)

    assert fleet.look(22, slot_10=0) == [Signal(worker(1, 0, 2), "SIGTERM")]
    assert fleet.state.generations[1].seats[0].worker == worker(1)

    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(status=0)), 23)

    assert fleet.state.generations[1].seats[0].failures == 0
    assert fleet.look(24) == []


def test_one_that_accepts_after_it_was_replaced_drains_and_serves_when_the_other_stalls() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21)
    fleet.look(22, slot_10=0)

    assert fleet.state.generations[1].workers[worker(1)].state is WorkerState.STALLED

    fleet.handle(WorkerExited(worker(1, FIRST_SWEEPER), Exit(status=0)), 23)
    fleet.look(24)

    assert fleet.state.generations[1].workers[worker(1)].state is WorkerState.DRAINING
    assert looks(fleet, 30, 41, slot_11=1) == [
        Steer(4, steered(10)),
        Spawn(worker(1, FIRST_SWEEPER + 1), A, {"ws": 11}),
    ]
    assert fleet.state.generations[1].seats[0].worker == worker(1)
    assert fleet.state.generations[1].workers[worker(1, 0, 2)].state is WorkerState.STALLED


def test_a_seat_has_at_most_one_worker_more_and_the_limit_is_reported_once() -> None:
    fleet, actions = stalled()
    fleet.spawn_all(actions, 20)
    fleet.spawn_all(fleet.steer(fleet.handle(WorkerReady(worker(1, 0, 2)), 21), 21), 21)
    actions = looks(fleet, 30, 90, slot_11=1, slot_10=1)

    assert [one for one in actions if isinstance(one, Spawn)] == []
    assert kinds(fleet).count("stall-not-replaced") == 1
    shown = view(fleet.state, 90).generations[0].workers
    assert "the limit of replacements is reached" in str([one.reason for one in shown])


def held_up(fleet: Driven, begin: int, end: int) -> list[Action]:
    """Every 5 seconds a census finds that worker 0 waits for its clients; none is accepted."""
    actions = []
    for at in range(begin, end, 5):
        event = CensusTaken({worker(1): 1}, 0, at, {}, frozenset({worker(1)}))
        actions += fleet.steer_any(fleet.handle(event, at), at)
        actions += fleet.steer_any(looks(fleet, at, at + 4.5, slot_10=1), at + 4.5)
    return actions


def test_one_that_slow_clients_hold_up_is_replaced_late_if_at_all() -> None:
    fleet = serving(STALLS)
    fleet.steer_any(looks(fleet, 10, 14, slot_10=1), 14)

    assert [one for one in held_up(fleet, 15, 300) if isinstance(one, Spawn)] == []
    assert kinds(fleet).count("stall-not-replaced") == 1
    assert kinds(fleet).count("stall-replaced") == 0

    late = held_up(fleet, 300, 320)

    assert [one.worker for one in late if isinstance(one, Spawn)] == [worker(1, 0, 2)]


def test_one_that_its_clients_do_not_hold_up_any_more_is_replaced() -> None:
    fleet = serving(STALLS)
    fleet.steer_any(looks(fleet, 10, 14, slot_10=1), 14)
    held_up(fleet, 15, 30)
    actions = looks(fleet, 30, 36, slot_10=1)

    assert [one.worker for one in actions if isinstance(one, Spawn)] == [worker(1, 0, 2)]


def test_replacements_for_stalls_come_with_growing_pauses() -> None:
    fleet, actions = stalled()
    spawned: list[float] = []
    for half in range(2 * 300):
        at = 20 + half / 2
        for action in actions:
            match action:
                case Spawn(worker=who):
                    spawned.append(at)
                    fleet.handle(Spawned(who, 5), at)
                case Signal(worker=who):
                    fleet.handle(WorkerExited(who, Exit(status=0)), at)
                case Steer(epoch=epoch):
                    fleet.handle(Steered(epoch), at)
        # It accepts for a moment every 15 seconds, before its replacement is ready.
        accepts = half % 30 == 0
        actions = fleet.look(at + 0.25, slot_10=0 if accepts else 1)

    gaps = [later - earlier for earlier, later in pairwise(spawned)]
    assert len(spawned) <= 6
    assert gaps == sorted(gaps)
    assert all(gap >= 10 for gap in gaps)


def test_a_candidate_that_pauses_is_waited_for_and_one_that_does_not_accept_fails() -> None:
    fleet = serving(STALLS)
    fleet.policy = replace(STALLS, stable=5.0)
    fleet.begin_reload(10)
    fleet.make_ready(2, 10.2)
    fleet.queues[11] = 1
    waited = looks(fleet, 10.5, 15)
    fleet.state.reload.deadline = inf  # type: ignore[union-attr]

    assert [one for one in waited if isinstance(one, Steer)] == []

    failed = looks(fleet, 15.5, 21)

    assert "its queue has not moved for 10" in str(failed)


def test_an_old_worker_that_does_not_accept_leaves_its_queue_to_a_sweeper() -> None:
    fleet = draining()
    actions = looks(fleet, 13, 23, slot_10=1)

    assert actions == [Spawn(worker(2, FIRST_SWEEPER), B, {"ws": 10})]


def test_a_sweeper_that_does_not_accept_either_is_ended_before_there_is_another() -> None:
    fleet = serving()
    lives: set[WorkerId] = set()
    most = spawned = 0
    for half in range(600):
        at = 10 + half / 2
        actions = fleet.look(at, slot_17=1)
        actions += fleet.census(at, dict.fromkeys(lives, 0))
        for action in actions:
            match action:
                case Spawn(worker=who):
                    lives.add(who)
                    spawned += 1
                    fleet.handle(Spawned(who, 5), at)
                case Signal(worker=who):
                    lives.remove(who)
                    fleet.handle(WorkerExited(who, Exit(status=0)), at)
        most = max(most, len(lives))

    assert most == 1
    assert 2 <= spawned <= 12


def test_a_stalled_sweeper_that_accepts_again_is_not_ended_while_clients_are_queued() -> None:
    fleet = serving()
    fleet.spawn_all(fleet.look(10, slot_17=3), 10)
    looks(fleet, 10.5, 60, slot_17=3)
    sweeper = worker(1, FIRST_SWEEPER)

    assert fleet.state.generations[1].workers[sweeper].state is WorkerState.STALLED

    fleet.look(60, slot_17=2)

    assert fleet.census(60, {sweeper: 0}) == [], "it may have accepted another one since"


def test_a_queue_that_moves_is_not_stalled_however_long_it_is() -> None:
    fleet = serving()

    for tenth in range(40):
        assert fleet.look(10 + tenth / 10, slot_10=50 - tenth % 2) == []


def test_a_queue_that_we_did_not_watch_is_not_stalled() -> None:
    fleet = serving()
    fleet.look(10, slot_10=5)

    assert fleet.look(20) == []
