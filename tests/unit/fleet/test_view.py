"""What an operator is shown of the fleet."""

from dataclasses import replace

import pytest

from tests.unit.fleet.driven import (
    POLICY,
    SLOTS,
    Driven,
    draining,
    library,
    serving,
    shared,
    starting,
    worker,
)
from wssupervisor.fleet.events import (
    DrainPaused,
    MainProcessEnded,
    ReloadRequested,
    ScaleRequested,
    StopRequested,
    WorkerCounted,
    WorkerExited,
)
from wssupervisor.fleet.model import Exit, InstanceState, WorkerState
from wssupervisor.fleet.view import DrainView, ListenerView, view


def test_listeners_are_shown_with_their_free_slots_and_their_queues() -> None:
    fleet = serving(replace(POLICY, by_client=("ws",)))
    fleet.look(4, slot_10=3, slot_11=2)
    (steered_one,) = view(fleet.state, 5).listeners
    (shared_one,) = view(shared().state, 5).listeners

    assert steered_one == ListenerView("ws", SLOTS, False, True, free=7, queued=5)
    assert shared_one == ListenerView("ws", (10,), True, False, free=1, queued=0)


def test_the_state_of_the_instance_is_the_first_that_holds() -> None:
    fleet = serving()
    found = [starting().shown_state(2), fleet.shown_state(4)]
    fleet.handle(WorkerExited(worker(1), Exit(1)), 5)
    found.append(fleet.shown_state(5))
    fleet.handle(ReloadRequested(5), 6)
    found.append(fleet.shown_state(6))
    fleet.handle(StopRequested(None), 7)
    found.append(fleet.shown_state(7))

    assert found == [
        InstanceState.STARTING,
        InstanceState.SERVING,
        InstanceState.DEGRADED,
        InstanceState.RELOADING,
        InstanceState.STOPPING,
    ]


def test_generations_are_shown_newest_first_with_their_drains() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.census(13, {worker(1, 0): 5, worker(1, 1): 3, worker(2, 0): 4})
    new, old = view(fleet.state, 14).generations

    assert (new.number, new.release, new.connections, new.drain) == (2, "/srv/42", 4, None)
    assert (old.number, old.release, old.connections) == (1, "/srv/41", 8)
    assert old.drain == DrainView(
        12, connections_at_start=8, deadline=72, paused=False, keep_until=17
    )
    assert (old.started_at, old.active_since) == (1, 2)


def test_a_pause_is_shown_in_place_of_a_limit() -> None:
    fleet = draining(replace(POLICY, drain_timeout=60.0))
    fleet.handle(DrainPaused(9, 1), 14)
    drain = view(fleet.state, 14).generations[1].drain

    assert drain is not None
    assert (drain.paused, drain.deadline) == (True, None)


def test_a_worker_is_shown_with_all_that_is_known_of_it() -> None:
    fleet = serving()
    fleet.handle(library(worker(1, 0)), 4)
    fleet.handle(WorkerCounted(worker(1, 0), 6), 4)
    fleet.census(4, {worker(1, 0): 7})
    fleet.look(4, slot_10=3)
    one, other = view(fleet.state, 5).generations[0].workers

    assert (one.id.index, one.id.incarnation, one.pid, one.state) == (0, 1, 1000, WorkerState.READY)
    assert (one.connections, one.reported, one.queued, one.library) == (7, 6, 3, True)
    assert (one.restarts, one.retry_at, one.reason, one.spawned_at) == (0, None, None, 1)
    assert (one.sweeper, one.still_listens, one.slots) == (False, False, {"ws": 10})
    assert (other.library, other.reported) == (False, None)


def test_a_seat_that_waits_for_its_next_worker_is_shown_in_its_place() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(3)), 10)
    waiting, other = view(fleet.state, 10.1).generations[0].workers

    assert (waiting.id.index, waiting.id.incarnation, waiting.state) == (0, 3, WorkerState.WAITING)
    assert (waiting.retry_at, waiting.restarts, waiting.pid) == (10.5, 2, None)
    assert waiting.reason == "exited with status 3"
    assert (waiting.connections, waiting.queued, waiting.library) == (0, 0, False)
    assert (waiting.sweeper, waiting.still_listens) == (False, False)
    assert other.id.index == 1


def test_a_seat_without_a_worker_neither_listens_nor_drains() -> None:
    fleet = serving()
    fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10)
    fleet.handle(WorkerExited(worker(1, 0, 2), Exit(3)), 10)

    assert flags(fleet) == [False] * 5


def test_an_empty_seat_of_a_drain_is_not_shown() -> None:
    fleet = draining()
    fleet.handle(WorkerExited(worker(1, 0), Exit(0)), 13)

    assert [one.id.index for one in view(fleet.state, 14).generations[1].workers] == [1]


def test_a_respawned_worker_is_shown_with_its_restarts() -> None:
    fleet = serving()
    fleet.spawn_all(fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 10), 10)

    assert [one.restarts for one in view(fleet.state, 11).generations[0].workers] == [1, 0]


def test_the_queue_of_a_shared_socket_is_no_workers_own() -> None:
    fleet = shared()
    fleet.look(4, slot_10=3)

    assert [one.queued for one in view(fleet.state, 5).generations[0].workers] == [0, 0]


def test_what_is_left_of_a_worker_is_shown_with_what_became_of_its_main_process() -> None:
    fleet = serving()
    fleet.handle(MainProcessEnded(worker(1, 0), Exit(signal="SIGKILL")), 10)
    shown = {
        (one.id.index, one.id.incarnation): one
        for one in view(fleet.state, 10).generations[0].workers
    }

    assert shown[0, 1].reason == (
        "its main process was killed by SIGKILL; its other processes keep running"
    )


def test_a_worker_that_still_listens_in_its_drain_is_shown_as_that() -> None:
    fleet = draining()
    drain = fleet.living(worker(1, 0)).drain
    assert drain is not None
    drain.still_listens = True

    assert [one.still_listens for one in view(fleet.state, 14).generations[1].workers] == [
        True,
        False,
    ]


def test_workers_wanted_and_configured_differ_while_it_is_scaled() -> None:
    fleet = serving()
    fleet.handle(ScaleRequested(5, 3), 4)
    found = view(fleet.state, 5)

    assert (found.workers_wanted, found.workers_configured, found.started_at) == (3, 2, 0)


def test_a_reload_is_shown_with_what_it_waits_for_and_a_leave_with_its_state() -> None:
    fleet = serving()

    assert view(fleet.state, 5).waits_for is None
    assert view(fleet.state, 5).out_of_rotation is None
    fleet.handle(ReloadRequested(5), 6)
    assert view(fleet.state, 6).waits_for == "reading the configuration"


@pytest.mark.parametrize("shares", [False, True])
def test_a_generation_whose_workers_share_slots_is_shown_as_that(shares: bool) -> None:
    fleet = serving(slots=SLOTS[:2]) if shares else serving()

    assert view(fleet.state, 5).generations[0].shares_slots is shares
    assert isinstance(fleet, Driven)


def test_a_drain_is_kept_as_long_as_the_last_of_its_workers() -> None:
    fleet = draining()
    drain = fleet.living(worker(1, 0)).drain
    assert drain is not None
    drain.keep_until = 99.0
    shown = view(fleet.state, 14).generations[1].drain

    assert shown is not None
    assert shown.keep_until == 99.0


def flags(fleet: Driven, generation: int = 1) -> list[bool]:
    """Of worker 0: should_listen, gets_no_more, paused, held_for_rollback, closing."""
    (one,) = [
        found
        for shown in view(fleet.state, 20).generations
        if shown.number == generation
        for found in shown.workers
        if found.id.index == 0
    ]
    return [
        one.should_listen,
        one.gets_no_more,
        one.paused,
        one.held_for_rollback,
        one.closing,
    ]


def test_a_ready_worker_should_listen_and_a_draining_one_gets_no_more() -> None:
    fleet = draining()

    assert flags(fleet, 2) == [True, False, False, False, False]
    assert flags(fleet, 1) == [False, True, False, False, False]


@pytest.mark.parametrize(("field", "at"), [("paused_at", 2), ("held_for_rollback", 3)])
def test_what_holds_a_drain_is_shown(field: str, at: int) -> None:
    fleet = draining()
    setattr(fleet.living(worker(1, 0)).drain, field, 15.0)

    assert bool(flags(fleet)[at])
    assert [bool(one) for one in flags(fleet)].count(True) == 2, "and that it gets no more"


def test_a_worker_that_closes_its_connections_is_shown_as_that() -> None:
    fleet = draining()
    fleet.living(worker(1, 0)).closing_by = 30.0

    assert flags(fleet)[4] is True


def test_a_draining_worker_that_may_still_get_connections_is_shown_as_that() -> None:
    fleet = draining()
    fleet.look(19, slot_10=1)

    assert flags(fleet)[1] is False


def test_the_active_generation_is_found_among_those_shown() -> None:
    shown = view(draining().state, 14).active()

    assert shown is not None
    assert shown.number == 2
    assert view(starting().state, 2).active() is None
