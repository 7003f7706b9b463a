"""Shared listeners: old workers release the socket before the cutover, or the reload fails."""

from tests.unit.fleet.driven import (
    POLICY,
    SIGNALLED,
    A,
    B,
    Driven,
    failures,
    library,
    serving,
    shared,
    worker,
)
from wssupervisor.fleet import releasing
from wssupervisor.fleet.actions import Action, Answer, CutOver, Spawn, Steer
from wssupervisor.fleet.events import (
    CensusTaken,
    LibraryConnected,
    ReleaseResolved,
    ReloadRequested,
    SlotReleased,
    Steered,
    TimePassed,
    WorkerExited,
)
from wssupervisor.fleet.model import (
    Exit,
    InstanceState,
    WorkerState,
)
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import SendDrain, SendResume, Signal
from wssupervisor.fleet.state import Leftover, ReleasingSockets, ReloadKind, ReloadPhase
from wssupervisor.fleet.view import view

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


def test_a_release_of_the_socket_is_reported_with_how_many_workers_must() -> None:
    fleet, _ = shared_letting_go()

    assert fleet.fields(NoteKind.RELEASING_SOCKETS) == [{"generation": 1, "workers": 2}]
    assert view(fleet.state, 12.5).waits_for == "2 old workers to stop accepting"
    fleet.handle(CensusTaken(BOTH, 0, 12.5, LISTENS), 12.5)
    assert view(fleet.state, 12.5).waits_for == "2 old workers to stop accepting"
    fleet.handle(CensusTaken(BOTH, 0, 13, {worker(1, 1): frozenset({10})}), 13)
    assert view(fleet.state, 13).waits_for == "1 old worker to stop accepting"


def test_no_worker_is_asked_twice() -> None:
    fleet, _ = shared_letting_go()

    assert fleet.handle(CensusTaken(BOTH, 0, 12.5, LISTENS), 12.5) == []
    assert len(fleet.fields(NoteKind.RELEASING_SOCKETS)) == 1


def test_a_census_begun_before_they_were_asked_proves_nothing() -> None:
    fleet, _ = shared_letting_go()

    assert fleet.handle(CensusTaken(BOTH, 0, 11.9, {}), 12.5) == []
    assert fleet.living(worker(1)).releasing is not None
    assert fleet.living(worker(1)).releasing == ReleasingSockets(12)


def test_a_worker_is_late_at_the_census_after_its_time_and_not_before() -> None:
    fleet, _ = shared_letting_go()

    assert fleet.handle(CensusTaken(BOTH, 0, 14.9, LISTENS), 14.9) == []
    assert failures(fleet.handle(CensusTaken(BOTH, 0, 15, LISTENS), 15)) != []


def test_one_late_worker_is_named_in_the_singular() -> None:
    fleet, _ = shared_letting_go()
    (reason,) = failures(
        fleet.handle(CensusTaken(BOTH, 0, 15, {worker(1, 1): frozenset({10})}), 15)
    )

    assert reason.startswith("worker 1 of generation 1 still listened on 'ws' 3 s after")


def test_slots_of_other_listeners_are_no_sign_that_a_worker_still_listens() -> None:
    fleet, _ = shared_letting_go()
    fleet.handle(CensusTaken(BOTH, 0, 13, {one: frozenset({99}) for one in BOTH}), 13)

    assert fleet.state.reload is not None
    assert fleet.state.reload.phase is ReloadPhase.CUTTING


def test_with_the_library_a_failed_reload_lets_the_workers_accept_again() -> None:
    fleet = shared()
    for index in (0, 1):
        fleet.handle(library(worker(1, index), releases_sockets=True), 5)
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    actions = fleet.handle(WorkerExited(worker(2, 0), Exit(1)), 12.5)

    assert [one for one in actions if isinstance(one, SendResume)] == [
        SendResume(worker(1, 0)),
        SendResume(worker(1, 1)),
    ]
    assert fleet.living(worker(1)).releasing is None
    assert fleet.living(worker(1)).state is WorkerState.READY


def test_a_failed_reload_says_nothing_to_workers_without_the_library() -> None:
    fleet, _ = shared_letting_go()
    actions = fleet.handle(WorkerExited(worker(2, 0), Exit(1)), 12.5)

    assert not any(isinstance(one, SendResume) for one in actions)


def test_one_worker_without_a_way_to_release_is_enough_for_a_refusal() -> None:
    fleet = shared()
    fleet.handle(library(worker(1, 0), releases_sockets=True), 5)
    fleet.handle(ReloadRequested(1), 10)

    assert "Set [drain] signal" in failures(fleet.handle(ReleaseResolved(1, B, POLICY), 10))[0]


def test_a_worker_that_is_not_ready_yet_is_asked_later_and_needs_no_way_now() -> None:
    fleet = shared()
    for index in (0, 1):
        fleet.handle(library(worker(1, index), releases_sockets=True), 5)
    fleet.spawn_all(fleet.handle(WorkerExited(worker(1, 0), Exit(1)), 9), 9)
    fleet.handle(ReloadRequested(1), 10)

    assert failures(fleet.handle(ReleaseResolved(1, B, POLICY), 10)) == []


def test_a_worker_without_a_pid_is_not_asked_and_awaited() -> None:
    fleet = shared(SIGNALLED)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.living(worker(1, 0)).pid = None
    actions = fleet.handle(TimePassed(), 12)

    assert actions == [Signal(worker(1, 1), "SIGUSR1")]
    assert releasing.needed(fleet.state)


def test_helpers_that_are_left_of_a_worker_need_not_release() -> None:
    fleet, _ = shared_letting_go()
    fleet.handle(CensusTaken(BOTH, 0, 13, {worker(1, 1): frozenset({10})}), 13)
    assert releasing.needed(fleet.state)
    fleet.living(worker(1, 1)).leftover = Leftover(Exit(0), False, 0)

    assert not releasing.needed(fleet.state)


def test_no_release_is_needed_at_the_start_without_a_reload_or_with_steering() -> None:
    fleet = shared(SIGNALLED)

    assert not releasing.needed(fleet.state)
    fleet.begin_reload(10)
    assert releasing.needed(fleet.state)
    assert fleet.state.reload is not None
    fleet.state.reload.kind = ReloadKind.START
    assert not releasing.needed(fleet.state)
    assert not releasing.needed(serving().state)


def test_a_report_of_a_worker_that_was_not_asked_counts_during_a_release() -> None:
    """Another one closed its socket of its own accord: it is replaced as ever."""
    fleet, _ = shared_letting_go()
    fleet.living(worker(1, 0)).releasing = None
    fleet.handle(SlotReleased(worker(1, 0)), 12.5)

    assert fleet.living(worker(1, 0)).state is WorkerState.STALLED


def test_a_worker_that_released_for_a_reload_has_nothing_to_be_signalled_again() -> None:
    fleet, _ = shared_letting_go()
    actions = fleet.steer(fleet.handle(CensusTaken(BOTH, 0, 13, {}), 13), 13)

    assert not any(isinstance(one, Signal) for one in actions)


def test_a_worker_that_released_for_a_failed_reload_is_not_asked_to_resume() -> None:
    fleet = shared()
    for index in (0, 1):
        fleet.handle(library(worker(1, index), releases_sockets=True), 5)
    fleet.begin_reload(10, request=7)
    fleet.make_ready(2, 11)
    fleet.handle(TimePassed(), 12)
    fleet.handle(CensusTaken(BOTH, 0, 13, {worker(1, 1): frozenset({10})}), 13)
    actions = fleet.handle(WorkerExited(worker(2, 0), Exit(1)), 13.5)

    assert [one for one in actions if isinstance(one, SendResume)] == [SendResume(worker(1, 1))]
    assert fleet.living(worker(1, 0)).state is WorkerState.STALLED


def test_a_release_begins_at_the_instant_of_the_cutover_and_is_not_waited_for_in_a_circle() -> None:
    fleet = shared(SIGNALLED)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)

    assert fleet.next_deadline() == 12
    fleet.handle(TimePassed(), 12)
    assert fleet.next_deadline() == 70, "the limit of the reload"
    fleet.handle(CensusTaken(BOTH, 0, 13, {}), 13)
    assert fleet.next_deadline() is None, "the table is on its way"
