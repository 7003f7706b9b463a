"""The state of the fleet: how it begins, and what is read off it."""

from tests.unit.fleet.driven import POLICY, A, B, draining, serving, worker
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import ReleaseResolved, ReloadRequested
from wssupervisor.fleet.model import GenerationState, Listener, Policy, WorkerId, WorkerState
from wssupervisor.fleet.state import (
    Drain,
    Generation,
    OutOfRotation,
    ReleasingSockets,
    Reload,
    ReloadKind,
    ReloadPhase,
    Scale,
    Seat,
    SlotWatch,
    State,
    Steering,
    Stop,
    Worker,
)


def test_a_worker_begins_with_nothing() -> None:
    one = Worker(WorkerId(1, 0, 1), {"ws": 10}, WorkerState.STARTING, spawned_at=5.0)

    assert (one.connections, one.forced, one.watchdog) == (0, 0, 0.0)
    assert [one.sweeper, one.closes_on_request, one.releases_sockets] == [False] * 3


def test_a_fleet_begins_with_nothing_and_at_its_instant() -> None:
    fleet = Fleet([Listener("ws", (10, 11))], now=7.0)

    assert fleet.state == State(
        {"ws": Listener("ws", (10, 11))},
        slots={10: SlotWatch(), 11: SlotWatch()},
        started_at=7.0,
    )
    assert Fleet([]).state.started_at == 0.0
    assert SlotWatch() == SlotWatch(queued=0, left_epoch=1, deaf=False, occupied=False)
    assert Steering() == Steering(epoch=0, handshakes_over=0)
    assert (fleet.state.last_generation, fleet.state.last_reload) == (0, 0)
    assert fleet.state.quit is False


def test_the_number_of_workers_is_the_scale_as_long_as_the_file_says_the_same() -> None:
    state = State({}, scaled=Scale(5, instead_of=2))

    assert state.workers_wanted(Policy(workers=2)) == 5
    assert state.workers_wanted(Policy(workers=3)) == 3
    assert State({}).workers_wanted(Policy(workers=3)) == 3


def test_a_candidate_is_the_generation_of_the_reload_under_way() -> None:
    fleet = serving()

    assert fleet.state.candidate is None
    fleet.handle(ReloadRequested(5), 10)
    assert fleet.state.candidate is None
    fleet.handle(ReleaseResolved(1, B, POLICY), 10)
    assert fleet.state.candidate is fleet.state.generations[2]


def test_workers_and_generations_are_found_by_their_ids_and_states() -> None:
    fleet = draining()

    assert [one.id for one in fleet.state.workers()] == [
        worker(1, 0), worker(1, 1), worker(2, 0), worker(2, 1),
    ]  # fmt: skip
    assert fleet.state.worker(worker(3)) is None
    assert fleet.state.worker(worker(1, 7)) is None
    assert fleet.state.active is fleet.state.generations[2]
    assert fleet.state.in_state(GenerationState.DRAINING) == [fleet.state.generations[1]]
    assert fleet.state.in_state(GenerationState.STARTING) == []


def test_a_slot_is_shared_by_what_its_listener_says() -> None:
    state = State({"ws": Listener("ws", (1, 2)), "raw": Listener("raw", (3,), shared=3)})

    assert [state.shared(slot) for slot in (1, 2, 3)] == [False, False, True]


def test_a_seat_a_generation_and_a_reload_begin_with_nothing() -> None:
    seat = Seat(0, {})
    generation = Generation(1, A, POLICY, GenerationState.STARTING, 0.0)
    reload = Reload(1, ReloadKind.RELOAD, None, 0.0, 60.0, ReloadPhase.RESOLVING)
    drain = Drain(1.0, 2.0, None)

    assert (seat.incarnation, seat.failures, seat.replacements) == (1, 0, 0)
    assert (generation.sweepers, generation.sweep_failures) == (0, 0)
    assert (generation.connections_at_start, generation.forced, generation.lost) == (0, 0, 0)
    assert reload.make_room is False
    assert drain.empty_rounds == 0
    assert [drain.signalled, drain.still_listens, drain.held_for_rollback] == [False] * 3
    assert OutOfRotation(1.0, None, 2.0).empty_rounds == 0
    assert Stop(None, 5.0).status == 0
    assert State({}).started_at == 0.0
    assert ReleasingSockets(1.0).late is False
