"""Shared listeners: old workers release the socket before the cutover, or the reload fails."""

from tests.unit.fleet.driven import POLICY, SIGNALLED, A, B, Driven, shared, worker
from wssupervisor.fleet.actions import Action, Answer, CutOver, Spawn, Steer
from wssupervisor.fleet.events import (
    CensusTaken,
    LibraryConnected,
    ReleaseResolved,
    ReloadRequested,
    SlotReleased,
    Steered,
    TimePassed,
)
from wssupervisor.fleet.model import (
    InstanceState,
    WorkerState,
)
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import SendDrain, Signal

BOTH = {worker(1, 0): 0, worker(1, 1): 0}


LISTENS = {worker(1, 0): frozenset({10}), worker(1, 1): frozenset({10})}


def shared_letting_go() -> tuple[Driven, list[Action]]:
    """Generation 2 is ready; generation 1 must release its socket since second 12."""
    fleet = shared(SIGNALLED)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    return fleet, fleet.handle(TimePassed(), 12)


def shared_draining() -> Driven:
    """Generation 2 is active, and generation 1 has let go, or said so."""
    fleet, _ = shared_letting_go()
    fleet.steer(fleet.handle(CensusTaken(BOTH, 0, 12, {}), 12), 12)
    fleet.look(12)
    return fleet


def test_old_workers_release_a_shared_listener_before_the_cutover() -> None:
    fleet, actions = shared_letting_go()

    assert actions == [Signal(worker(1, 0), "SIGUSR1"), Signal(worker(1, 1), "SIGUSR1")]
    assert fleet.handle(CensusTaken(BOTH, 0, 12.5, LISTENS), 12.5) == []

    one_left = {worker(1, 1): frozenset({10})}

    assert fleet.handle(CensusTaken(BOTH, 0, 13, one_left), 13) == []

    (steer,) = fleet.handle(CensusTaken(BOTH, 0, 13.5, {}), 13.5)

    assert isinstance(steer, Steer)
    assert fleet.handle(Steered(steer.epoch), 13.5) == [Answer(1, CutOver(1, 2, 1, 3.5))]


def test_a_reload_fails_whose_old_workers_accept_still_and_they_keep_serving() -> None:
    fleet, _ = shared_letting_go()
    fleet.handle(CensusTaken(BOTH, 0, 14, LISTENS), 14)
    actions = fleet.handle(CensusTaken(BOTH, 0, 15, LISTENS), 15.1)
    old = fleet.state.generations[1]

    assert actions[:2] == [Signal(worker(2, 0), "SIGTERM"), Signal(worker(2, 1), "SIGTERM")]
    assert "workers 0, 1 of generation 1 still listened on 'ws' 3 s after" in str(actions[2])
    assert "SIGUSR1 ([drain] signal)" in str(actions[2])
    assert [one.state for one in old.workers.values()] == [WorkerState.READY, WorkerState.READY]
    assert fleet.shown_state(15.1) is InstanceState.SERVING


def test_a_report_of_an_old_worker_that_it_released_is_no_proof() -> None:
    fleet, _ = shared_letting_go()
    said = [fleet.handle(SlotReleased(worker(1, index)), 12.5) for index in (0, 1)]

    assert said == [[], []]
    assert fleet.handle(CensusTaken(BOTH, 0, 13, LISTENS), 13) == []
    assert isinstance(fleet.handle(CensusTaken(BOTH, 0, 14, {}), 14)[0], Steer)


def test_a_worker_that_released_for_a_failed_reload_is_replaced_and_keeps_its_connections() -> None:
    fleet, _ = shared_letting_go()
    one_left = {worker(1, 1): frozenset({10})}
    actions = fleet.handle(CensusTaken(BOTH, 0, 15, one_left), 15.1)

    assert Spawn(worker(1, 0, 2), A, {"ws": 10}) in actions
    assert fleet.state.generations[1].workers[worker(1, 0)].state is WorkerState.STALLED


def test_without_a_way_to_release_a_reload_is_refused_before_anything_starts() -> None:
    fleet = shared()
    fleet.handle(ReloadRequested(1), 10)
    (answer,) = fleet.handle(ReleaseResolved(1, B, POLICY), 10)

    assert "Set [drain] signal" in str(answer)


def test_with_the_library_no_signal_is_needed() -> None:
    fleet = shared()
    for index in (0, 1):
        fleet.handle(LibraryConnected(worker(1, index), closes=True, releases_sockets=True), 5)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)

    assert fleet.handle(TimePassed(), 12) == [
        SendDrain(worker(1, 0), stop_accepting=True),
        SendDrain(worker(1, 1), stop_accepting=True),
    ]


def test_a_worker_in_shared_mode_is_ended_when_it_has_released_and_is_empty() -> None:
    fleet = shared_draining()
    own = {worker(1, 0): 0, worker(1, 1): 0}
    listening = {worker(1, 1): frozenset({10})}
    fleet.look(13, slot_10=5)
    actions = [
        action
        for at in (13, 14, 15)
        for action in fleet.handle(CensusTaken(own, 0, at, listening), at)
    ]

    assert actions == [Signal(worker(1, 0), "SIGTERM")]


def test_a_worker_that_does_not_release_is_reported_and_left_alone() -> None:
    fleet = shared_draining()
    listening = {worker(1, 0): frozenset({10})}
    for at in (13, 14, 16, 17, 18):
        fleet.handle(CensusTaken({worker(1, 0): 0}, 0, at, listening), at)
    spoken = [note for note in fleet.notes if note.kind is NoteKind.STILL_LISTENS]

    assert [note.fields["worker"] for note in spoken] == ["1.0.1"]
    assert fleet.state.generations[1].workers[worker(1, 0)].state is WorkerState.DRAINING
