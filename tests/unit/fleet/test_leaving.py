"""Out of the load balancer: no client is refused or closed, none is asked to close too early."""

from dataclasses import replace
from math import inf

import pytest

from tests.unit.fleet.driven import POLICY, Driven, draining, serving, starting, worker
from wssupervisor.fleet.actions import Answer, Failed, Joined, Left
from wssupervisor.fleet.events import (
    JoinRequested,
    LeaveRequested,
    LibraryConnected,
    LibraryDisconnected,
    Recovered,
    Reexecuted,
    Requester,
    RequesterGone,
    StopRequested,
    TimePassed,
    WorkerCounted,
    WorkerExited,
)
from wssupervisor.fleet.health import agent_line, why_not_ready
from wssupervisor.fleet.leaving import ASK_AGAIN_SECONDS
from wssupervisor.fleet.model import Exit, Policy, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.orders import AskToClose, AskToLeave, SendDrain, SendStay
from wssupervisor.fleet.snapshot import dump, load
from wssupervisor.fleet.view import view

LEAD = 10.0
OVER = 30.0
ALICE = Requester("wssctl", "alice", 4711)
BOTH = {worker(1, 0): 20, worker(1, 1): 20}
NO_CONNECTIONS = dict.fromkeys(BOTH, 0)


def polite(policy: Policy = POLICY) -> Driven:
    """Generation 1 serves 20 clients with each of its two workers, which use the library."""
    fleet = serving(policy)
    for one in BOTH:
        fleet.handle(LibraryConnected(one, closes=True, releases_sockets=False), 3)
    fleet.census(4, BOTH)
    return fleet


def leave(
    request: int = 7, lead: float = LEAD, within: float = inf, *, waits: bool = True
) -> LeaveRequested:
    return LeaveRequested(request, lead, within, waits, ALICE)


def kinds(fleet: Driven) -> list[NoteKind]:
    return [one.kind for one in fleet.notes]


def out(fleet: Driven, within: float = inf) -> Driven:
    """It has left at second 100."""
    fleet.handle(leave(within=within), 100)
    return fleet


def test_nothing_else_happens_when_it_leaves() -> None:
    fleet = polite()

    assert fleet.handle(leave(), 100) == []
    assert fleet.handle(TimePassed(), 100 + LEAD - 0.1) == []
    assert fleet.next_deadline() == 100 + LEAD
    assert fleet.notes[-1].kind is NoteKind.LEFT
    assert fleet.notes[-1].fields == {
        "lead": LEAD, "connections": 40, "via": "wssctl", "by": "alice", "by_pid": 4711,
    }  # fmt: skip


def test_after_the_lead_all_are_asked_to_close_spread_over_the_configured_time() -> None:
    assert out(polite()).handle(TimePassed(), 100 + LEAD) == [
        AskToLeave(worker(1, 0), OVER),
        AskToLeave(worker(1, 1), OVER),
    ]


def test_those_of_old_generations_are_asked_as_well() -> None:
    fleet = draining()
    fleet.handle(LibraryConnected(worker(1, 1), closes=True, releases_sockets=False), 13)
    fleet.handle(LibraryConnected(worker(2, 0), closes=True, releases_sockets=False), 13)
    fleet.census(14, {worker(1, 1): 3, worker(2, 0): 3})

    assert out(fleet).handle(TimePassed(), 100 + LEAD) == [
        AskToLeave(worker(1, 1), OVER),
        AskToLeave(worker(2, 0), OVER),
    ]


def test_workers_without_connections_or_without_the_library_are_not_asked() -> None:
    fleet = serving()
    fleet.handle(LibraryConnected(worker(1, 1), closes=True, releases_sockets=False), 3)
    fleet.census(4, {worker(1, 0): 20, worker(1, 1): 0})

    assert out(fleet).handle(TimePassed(), 100 + LEAD) == []


def test_connections_that_remain_or_come_are_asked_again_when_the_round_is_over() -> None:
    fleet = out(polite())
    fleet.handle(TimePassed(), 100 + LEAD)
    fleet.census(120, {worker(1, 0): 5, worker(1, 1): 0})
    again = 100 + LEAD + OVER + ASK_AGAIN_SECONDS

    assert fleet.next_deadline() == again
    assert fleet.handle(TimePassed(), again - 0.1) == []
    assert fleet.handle(TimePassed(), again) == [AskToLeave(worker(1, 0), OVER)]


def test_a_library_that_connects_late_is_asked_at_once_and_so_is_a_worker_that_drains() -> None:
    fleet = serving()
    fleet.census(4, BOTH)
    out(fleet).handle(TimePassed(), 111)

    assert fleet.handle(
        LibraryConnected(worker(1, 0), closes=True, releases_sockets=False), 112
    ) == [AskToLeave(worker(1, 0), OVER)]

    fleet.begin_reload(113)
    fleet.make_ready(2, 114)
    cut_over = fleet.steer(fleet.handle(TimePassed(), 115), 115)

    assert [one for one in cut_over if isinstance(one, SendDrain | AskToLeave)] == [
        SendDrain(worker(1, 0), False),
        AskToLeave(worker(1, 0), OVER),  # the drain voids what was asked before
    ]


def test_a_limit_shortens_the_spread() -> None:
    assert out(polite(), within=LEAD + 5).handle(TimePassed(), 100 + LEAD)[0] == AskToLeave(
        worker(1, 0), 5
    )


def test_it_is_empty_after_two_censuses_without_connections_once_the_lead_is_over() -> None:
    fleet = out(polite())
    fleet.census(101, NO_CONNECTIONS)

    assert fleet.census(102, NO_CONNECTIONS) == []  # clients may yet be sent here
    assert fleet.census(111, NO_CONNECTIONS) == []
    assert fleet.census(112, NO_CONNECTIONS, strays=1) == []
    assert fleet.census(113, NO_CONNECTIONS) == []
    assert fleet.census(114, NO_CONNECTIONS) == [
        Answer(7, Left(0, empty=True, seconds=14, asks_in=0))
    ]
    assert kinds(fleet)[-1] is NoteKind.EMPTIED


def test_a_client_in_a_queue_is_not_forgotten() -> None:
    fleet = out(polite())
    fleet.look(111, slot_10=1)
    fleet.census(111.2, NO_CONNECTIONS)

    assert fleet.census(111.7, NO_CONNECTIONS) == []


def test_at_the_limit_the_waiting_ends_and_no_worker_is_ended() -> None:
    fleet = out(polite(), within=60.0)
    fleet.handle(TimePassed(), 111)
    fleet.handle(LibraryDisconnected(worker(1, 1)), 112)
    fleet.census(113, {worker(1, 0): 2, worker(1, 1): 20})
    fleet.handle(TimePassed(), 159.9)
    (answer,) = fleet.handle(TimePassed(), 160)

    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "operation-failed"
    assert answer.outcome.reason == (
        "22 connections left at the limit, 20 of them with workers that cannot be asked to close."
        " The instance stays out of its load balancer. Run `wssctl leave` to keep waiting, or"
        " `wssctl join` to put it back"
    )
    assert fleet.state.out_of_rotation is not None
    assert kinds(fleet)[-1] is NoteKind.LEAVE_LIMIT


def test_a_limit_that_ends_before_the_lead_is_named() -> None:
    (answer,) = out(polite(), within=4.0).handle(TimePassed(), 104)

    assert "left at the limit. No worker is asked to close connections until the lead ends" in str(
        answer
    )


def test_a_second_leave_waits_too_and_its_limits_are_those_that_hold() -> None:
    fleet = out(polite(), within=60.0)

    assert fleet.handle(leave(8, lead=2.0, within=30.0), 105) == [
        AskToLeave(worker(1, 0), 30),  # its lead, from when it went out, is over
        AskToLeave(worker(1, 1), 30),
    ]
    answers = fleet.handle(TimePassed(), 135)
    assert [one.request for one in answers if isinstance(one, Answer)] == [7, 8]
    assert kinds(fleet).count(NoteKind.LEFT) == 1


def test_a_leave_that_does_not_wait_is_answered_at_once() -> None:
    assert polite().handle(leave(waits=False), 100) == [
        Answer(7, Left(40, empty=False, seconds=0, asks_in=LEAD))
    ]


def test_a_requester_that_goes_away_leaves_the_instance_out() -> None:
    fleet = out(polite(), within=60.0)
    fleet.handle(RequesterGone(7), 105)

    assert fleet.handle(TimePassed(), 160)[:2] == [
        AskToLeave(worker(1, 0), 0),
        AskToLeave(worker(1, 1), 0),
    ]
    assert fleet.state.out_of_rotation is not None


def test_a_join_stops_the_asking() -> None:
    fleet = out(polite())
    fleet.handle(TimePassed(), 111)

    assert fleet.handle(JoinRequested(8, ALICE), 112) == [
        Answer(
            7,
            Failed(
                "operation-failed",
                "stopped waiting: the instance joined its load balancer again",
            ),
        ),
        SendStay(worker(1, 0)),
        SendStay(worker(1, 1)),
        Answer(8, Joined(12)),
    ]
    assert fleet.handle(TimePassed(), 1000) == []
    assert fleet.next_deadline() is None
    assert fleet.notes[-1].fields["seconds"] == 12


def test_a_join_of_an_instance_that_is_in_is_answered_with_that() -> None:
    assert polite().handle(JoinRequested(8), 100) == [Answer(8, Joined(None))]


def test_neither_is_done_while_it_starts_or_stops() -> None:
    early, late = starting(), polite()
    late.steer(late.handle(StopRequested(None), 18), 19)

    for fleet, why in (
        (early, "the instance has not started yet"),
        (late, "the instance is stopping"),
    ):
        assert fleet.handle(leave(), 20) == [Answer(7, Failed("busy", why))]
        assert fleet.handle(JoinRequested(8), 20) == [Answer(8, Failed("busy", why))]
        assert fleet.state.out_of_rotation is None
        assert kinds(fleet)[-1] not in (NoteKind.LEFT, NoteKind.JOINED)


def test_a_stop_ends_the_waiting() -> None:
    fleet = out(polite())
    actions = fleet.handle(StopRequested(9), 105)

    assert (
        Answer(
            7,
            Failed("operation-failed", "stopped waiting: the instance is stopping"),
        )
        in actions
    )
    assert [one for one in fleet.handle(TimePassed(), 111) if isinstance(one, AskToLeave)] == []


def test_a_drain_that_has_reached_its_limit_is_not_disturbed() -> None:
    fleet = draining(replace(POLICY, drain_timeout=100.0))
    fleet.handle(LibraryConnected(worker(1, 1), closes=True, releases_sockets=False), 13)
    fleet.census(14, {worker(1, 1): 3})
    asked = [one for one in fleet.handle(TimePassed(), 112) if isinstance(one, AskToClose)]

    assert [one.worker for one in asked] == [worker(1, 1)]
    assert fleet.handle(leave(lead=0.0), 113) == []


def test_a_worker_that_crashes_meanwhile_is_replaced() -> None:
    fleet = out(polite())
    actions = fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 105)

    assert any(getattr(one, "worker", None) == worker(1, 0, incarnation=2) for one in actions)


def test_a_reload_goes_on_as_ever() -> None:
    fleet = out(polite())
    fleet.begin_reload(105)
    fleet.make_ready(2, 106)
    fleet.steer(fleet.handle(TimePassed(), 107), 107)

    assert fleet.state.active is not None
    assert fleet.state.active.number == 2
    assert fleet.state.out_of_rotation is not None


@pytest.mark.parametrize("asked", [False, True])
def test_it_stays_out_over_an_upgrade_and_over_the_supervisors_death(*, asked: bool) -> None:
    fleet = out(polite())
    if asked:
        fleet.handle(TimePassed(), 111)
    for event in (
        Reexecuted("0.2.0", "0.1.0"),
        Recovered("0.2.0", "0.1.0", {worker(1, 0): 1000, worker(1, 1): 1001}, {}),
    ):
        fleet.core = load(dump(fleet.core))
        fleet.handle(event, 112 if asked else 105)

        assert fleet.state.out_of_rotation is not None
        assert fleet.state.out_of_rotation.since == 100
        due = fleet.next_deadline()
        assert due == (110 + OVER + ASK_AGAIN_SECONDS + 1 if asked else 110)


def test_after_a_death_requests_of_before_are_not_answered() -> None:
    fleet = out(polite())
    fleet.core = load(dump(fleet.core))
    fleet.handle(Recovered("0.2.0", "0.1.0", {worker(1, 0): 1000, worker(1, 1): 1001}, {}), 105)
    fleet.census(111, NO_CONNECTIONS)

    assert fleet.census(112, NO_CONNECTIONS) == []


def test_an_operator_sees_since_when_and_what_is_left() -> None:
    fleet = out(polite(), within=60.0)
    fleet.handle(LibraryDisconnected(worker(1, 1)), 101)
    found = view(fleet.state, 105).out_of_rotation

    assert found is not None
    assert (found.since, found.by, found.asks_from, found.deadline) == (100, "alice", 110, 160)
    assert (found.connections, found.waited_for, found.emptied_at) == (40, 20, None)


def test_a_count_that_a_worker_makes_up_keeps_no_request_waiting() -> None:
    fleet = out(polite())
    fleet.handle(WorkerCounted(worker(1, 0), 7), 105)
    fleet.handle(TimePassed(), 111)
    fleet.census(112, NO_CONNECTIONS)

    assert [
        one.request for one in fleet.census(113, NO_CONNECTIONS) if isinstance(one, Answer)
    ] == [7]


def test_once_it_has_stopped_it_is_not_running() -> None:
    fleet = serving()
    fleet.steer(fleet.handle(StopRequested(1), 10), 10)
    for index in range(2):
        fleet.handle(WorkerExited(worker(1, index), Exit(status=0)), 11)

    assert fleet.handle(leave(), 12) == [
        Answer(7, Failed("not-running", "the instance has stopped"))
    ]


def test_a_load_balancer_sees_that_the_instance_is_out() -> None:
    fleet = out(polite())

    assert why_not_ready(fleet.state) == "out of its load balancer (requested by alice)"
    assert agent_line(fleet.state) == "drain"

    fleet.handle(JoinRequested(8), 105)

    assert why_not_ready(fleet.state) is None
    assert agent_line(fleet.state) == "up ready"


def test_the_agent_check_is_down_only_if_no_worker_serves() -> None:
    crashed = serving()
    for index in range(2):
        crashed.handle(WorkerExited(worker(1, index), Exit(status=1)), 10)

    assert agent_line(starting().state) == "down #starting: no generation serves yet"
    assert agent_line(crashed.state) == "down #no worker of generation 1 is ready"


def test_the_agent_check_of_a_stopping_instance_marks_nothing_down() -> None:
    """That could close the remaining connections, which their workers are asked to do."""
    fleet = polite()
    fleet.handle(StopRequested(None), 10)

    assert agent_line(fleet.state) == "drain"


def test_a_join_is_reported_with_its_requester() -> None:
    fleet = out(polite())
    fleet.handle(JoinRequested(8, ALICE), 112)

    assert fleet.fields(NoteKind.JOINED) == [
        {"seconds": 12, "via": "wssctl", "by": "alice", "by_pid": 4711}
    ]


def test_a_requester_without_a_name_is_shown_by_its_way() -> None:
    fleet = polite()
    fleet.handle(LeaveRequested(7, LEAD, inf, True, Requester("systemd")), 100)

    assert fleet.state.out_of_rotation is not None
    assert fleet.state.out_of_rotation.by == "systemd"


def test_the_end_of_the_waiting_is_reported_with_what_is_left() -> None:
    fleet = out(polite(), within=60.0)
    fleet.handle(TimePassed(), 160)

    assert fleet.fields(NoteKind.LEAVE_LIMIT) == [{"seconds": 60, "connections": 40}]
    assert fleet.state.out_of_rotation is not None
    assert fleet.state.out_of_rotation.deadline is None
    assert fleet.handle(TimePassed(), 161) == []


def test_when_it_is_empty_that_is_reported_once_and_the_limit_is_void() -> None:
    fleet = out(polite(), within=60.0)
    for at in (111, 112, 113, 114):
        fleet.census(at, NO_CONNECTIONS)

    assert fleet.fields(NoteKind.EMPTIED) == [{"seconds": 12}]
    assert fleet.state.out_of_rotation is not None
    assert fleet.state.out_of_rotation.emptied_at == 112
    assert fleet.handle(TimePassed(), 500) == []


def test_a_second_leave_proves_again_that_it_is_empty() -> None:
    fleet = out(polite())
    for at in (111, 112):
        fleet.census(at, NO_CONNECTIONS)
    fleet.handle(leave(8), 120)

    assert fleet.census(121, NO_CONNECTIONS) == []
    assert [
        one.request for one in fleet.census(122, NO_CONNECTIONS) if isinstance(one, Answer)
    ] == [8]


def test_a_census_begun_as_the_lead_ends_counts() -> None:
    fleet = out(polite())
    fleet.census(110, NO_CONNECTIONS)

    assert len(fleet.census(111, NO_CONNECTIONS)) == 1


def test_a_stop_proves_no_emptiness() -> None:
    fleet = out(polite())
    fleet.handle(StopRequested(None), 110)
    for at in (111, 112):
        fleet.census(at, NO_CONNECTIONS)

    assert fleet.fields(NoteKind.EMPTIED) == []


def test_a_limit_that_has_passed_spreads_over_no_time() -> None:
    fleet = out(polite(), within=5.0)
    assert fleet.state.out_of_rotation is not None
    fleet.state.out_of_rotation.asks_from = 0.0
    fleet.state.out_of_rotation.deadline = 99.0

    assert fleet.handle(TimePassed(), 106)[0] == AskToLeave(worker(1, 0), 0.0)


def test_a_worker_that_reports_connections_is_asked_though_no_census_found_any() -> None:
    fleet = out(polite())
    fleet.census(105, NO_CONNECTIONS)

    assert fleet.next_deadline() is None
    fleet.handle(WorkerCounted(worker(1, 0), 7), 106)
    assert fleet.next_deadline() == 110
    assert fleet.handle(TimePassed(), 110) == [AskToLeave(worker(1, 0), OVER)]


def test_a_join_sends_nothing_to_workers_that_were_not_asked() -> None:
    fleet = out(polite())
    actions = fleet.handle(JoinRequested(8, ALICE), 105)

    assert not any(isinstance(one, SendStay) for one in actions)


def test_a_join_sends_nothing_to_a_worker_that_closes_for_its_end() -> None:
    fleet = out(polite())
    fleet.handle(TimePassed(), 110)
    fleet.living(worker(1, 0)).closing_by = 200.0
    fleet.living(worker(1, 1)).closes_on_request = False
    actions = fleet.handle(JoinRequested(8, ALICE), 112)

    assert not any(isinstance(one, SendStay) for one in actions)
    assert fleet.living(worker(1, 0)).asked_until is None


def test_the_pause_between_two_rounds_is_that_of_the_manual() -> None:
    assert ASK_AGAIN_SECONDS == 10.0


def test_only_workers_that_serve_or_drain_are_asked() -> None:
    fleet = out(polite())
    fleet.living(worker(1, 0)).state = WorkerState.STOPPING
    fleet.living(worker(1, 1)).state = WorkerState.STALLED

    assert fleet.handle(TimePassed(), 110) == [AskToLeave(worker(1, 1), OVER)]


def test_without_workers_that_cannot_be_asked_none_is_named() -> None:
    (answer,) = [
        one
        for one in out(polite(), within=60.0).handle(TimePassed(), 160)
        if isinstance(one, Answer)
    ]

    assert "40 connections left at the limit. " in str(answer)


def test_the_limit_of_a_leave_ends_it_without_any_worker_that_could_be_asked() -> None:
    assert out(serving(), within=60.0).next_deadline() == 160


def test_a_requester_that_goes_away_gets_no_answer_and_another_one_does() -> None:
    fleet = out(polite(), within=60.0)
    fleet.handle(leave(8, within=60.0), 101)
    fleet.handle(RequesterGone(7), 105)
    fleet.handle(RequesterGone(9), 105)
    answers = [one for one in fleet.handle(TimePassed(), 161) if isinstance(one, Answer)]

    assert [one.request for one in answers] == [8]


def test_one_worker_with_connections_is_enough_to_be_waited_for() -> None:
    fleet = out(polite())
    for at in (111, 112, 113):
        actions = fleet.census(at, {worker(1, 0): 0, worker(1, 1): 5})

        assert not any(isinstance(one, Answer) for one in actions)


def test_a_limit_that_ends_with_the_lead_is_not_before_it() -> None:
    (answer,) = [
        one
        for one in out(polite(), within=LEAD).handle(TimePassed(), 100 + LEAD)
        if isinstance(one, Answer)
    ]

    assert "lead" not in str(answer)
