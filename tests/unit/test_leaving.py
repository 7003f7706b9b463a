"""Out of the load balancer: nobody is refused or ended, and nobody asked to close too early."""

from dataclasses import replace
from math import inf

import pytest

from tests.unit.test_fleet import POLICY, Told, draining, serving, starting, worker
from wssupervisor.fleet.actions import (
    Answer,
    AskToClose,
    AskToLeave,
    Failed,
    Joined,
    Left,
    NoteKind,
    TellDrain,
    TellStay,
)
from wssupervisor.fleet.events import (
    JoinRequested,
    LeaveRequested,
    Recovered,
    Reexecuted,
    Requester,
    RequesterLeft,
    StopRequested,
    TimePassed,
    WorkerCounted,
    WorkerExited,
    WorkerJoined,
    WorkerParted,
)
from wssupervisor.fleet.health import agent_line, why_not_ready
from wssupervisor.fleet.leaving import ASK_AGAIN
from wssupervisor.fleet.model import Exit, Policy
from wssupervisor.fleet.snapshot import dump, load
from wssupervisor.fleet.view import view

LEAD = 10.0
OVER = 30.0
ALICE = Requester("wssctl", "alice", 4711)
BOTH = {worker(1, 0): 20, worker(1, 1): 20}
NOBODY = dict.fromkeys(BOTH, 0)


def polite(policy: Policy = POLICY) -> Told:
    """Generation 1 serves 20 clients with each of its two workers, which use the library."""
    told = serving(policy)
    for one in BOTH:
        told.tell(WorkerJoined(one, closes=True, lets_go=False), 3)
    told.census(4, BOTH)
    return told


def leave(
    request: int = 7, lead: float = LEAD, within: float = inf, *, waits: bool = True
) -> LeaveRequested:
    return LeaveRequested(request, lead, within, waits, ALICE)


def kinds(told: Told) -> list[NoteKind]:
    return [one.kind for one in told.notes]


def out(told: Told, within: float = inf) -> Told:
    """It has left at second 100."""
    told.tell(leave(within=within), 100)
    return told


def test_nothing_else_happens_when_it_leaves() -> None:
    told = polite()

    assert told.tell(leave(), 100) == []
    assert told.tell(TimePassed(), 100 + LEAD - 0.1) == []
    assert told.fleet.next_deadline() == 100 + LEAD
    assert told.notes[-1].kind is NoteKind.LEFT
    assert told.notes[-1].fields == {
        "lead": LEAD, "connections": 40, "via": "wssctl", "by": "alice", "by_pid": 4711,
    }  # fmt: skip


def test_after_the_lead_all_are_asked_to_close_spread_over_the_configured_time() -> None:
    assert out(polite()).tell(TimePassed(), 100 + LEAD) == [
        AskToLeave(worker(1, 0), OVER),
        AskToLeave(worker(1, 1), OVER),
    ]


def test_those_of_old_generations_are_asked_as_well() -> None:
    told = draining()
    told.tell(WorkerJoined(worker(1, 1), closes=True, lets_go=False), 13)
    told.tell(WorkerJoined(worker(2, 0), closes=True, lets_go=False), 13)
    told.census(14, {worker(1, 1): 3, worker(2, 0): 3})

    assert out(told).tell(TimePassed(), 100 + LEAD) == [
        AskToLeave(worker(1, 1), OVER),
        AskToLeave(worker(2, 0), OVER),
    ]


def test_workers_that_have_nobody_or_not_the_library_are_not_asked() -> None:
    told = serving()
    told.tell(WorkerJoined(worker(1, 1), closes=True, lets_go=False), 3)
    told.census(4, {worker(1, 0): 20, worker(1, 1): 0})

    assert out(told).tell(TimePassed(), 100 + LEAD) == []


def test_who_is_left_or_comes_is_asked_again_when_the_round_is_over() -> None:
    told = out(polite())
    told.tell(TimePassed(), 100 + LEAD)
    told.census(120, {worker(1, 0): 5, worker(1, 1): 0})
    again = 100 + LEAD + OVER + ASK_AGAIN

    assert told.fleet.next_deadline() == again
    assert told.tell(TimePassed(), again - 0.1) == []
    assert told.tell(TimePassed(), again) == [AskToLeave(worker(1, 0), OVER)]


def test_one_that_joins_late_is_asked_at_once_and_so_is_one_whose_drain_begins() -> None:
    told = serving()
    told.census(4, BOTH)
    out(told).tell(TimePassed(), 111)

    assert told.tell(WorkerJoined(worker(1, 0), closes=True, lets_go=False), 112) == [
        AskToLeave(worker(1, 0), OVER)
    ]

    told.begin_reload(113)
    told.make_ready(2, 114)
    cut_over = told.steer(told.tell(TimePassed(), 115), 115)

    assert [one for one in cut_over if isinstance(one, TellDrain | AskToLeave)] == [
        TellDrain(worker(1, 0), False),
        AskToLeave(worker(1, 0), OVER),  # what it was told before is void for it
    ]


def test_a_limit_shortens_the_spread() -> None:
    assert out(polite(), within=LEAD + 5).tell(TimePassed(), 100 + LEAD)[0] == AskToLeave(
        worker(1, 0), 5
    )


def test_it_is_empty_after_two_censuses_that_found_nobody_once_the_lead_is_over() -> None:
    told = out(polite())
    told.census(101, NOBODY)

    assert told.census(102, NOBODY) == []  # somebody may yet be sent here
    assert told.census(111, NOBODY) == []
    assert told.census(112, NOBODY, strays=1) == []
    assert told.census(113, NOBODY) == []
    assert told.census(114, NOBODY) == [Answer(7, Left(0, empty=True, seconds=14, asks_in=0))]
    assert kinds(told)[-1] is NoteKind.EMPTIED


def test_who_waits_in_a_queue_is_not_forgotten() -> None:
    told = out(polite())
    told.look(111, slot_10=1)
    told.census(111.2, NOBODY)

    assert told.census(111.7, NOBODY) == []


def test_at_the_limit_the_waiting_ends_and_nobody_is_ended() -> None:
    told = out(polite(), within=60.0)
    told.tell(TimePassed(), 111)
    told.tell(WorkerParted(worker(1, 1)), 112)
    told.census(113, {worker(1, 0): 2, worker(1, 1): 20})
    told.tell(TimePassed(), 159.9)
    (answer,) = told.tell(TimePassed(), 160)

    assert isinstance(answer, Answer)
    assert isinstance(answer.outcome, Failed)
    assert answer.outcome.code == "operation-failed"
    assert answer.outcome.reason == (
        "still connected: 22, 20 of them with workers that cannot be asked to close; the instance"
        " stays out of its load balancer. `wssctl leave` goes on waiting; a stop ends them; `wssctl"
        " join` puts it back"
    )
    assert told.fleet.state.out is not None
    assert kinds(told)[-1] is NoteKind.LEAVE_LIMIT


def test_a_limit_that_ends_before_the_lead_is_told() -> None:
    (answer,) = out(polite(), within=4.0).tell(TimePassed(), 104)

    assert "still connected: 40; nobody is asked to close before the lead is over, in 6 s;" in str(
        answer
    )


def test_a_second_leave_waits_too_and_its_limits_are_those_that_hold() -> None:
    told = out(polite(), within=60.0)

    assert told.tell(leave(8, lead=2.0, within=30.0), 105) == [
        AskToLeave(worker(1, 0), 30),  # its lead, from when it went out, is over
        AskToLeave(worker(1, 1), 30),
    ]
    answers = told.tell(TimePassed(), 135)
    assert [one.request for one in answers if isinstance(one, Answer)] == [7, 8]
    assert kinds(told).count(NoteKind.LEFT) == 1


def test_who_does_not_wait_is_answered_at_once() -> None:
    assert polite().tell(leave(waits=False), 100) == [
        Answer(7, Left(40, empty=False, seconds=0, asks_in=LEAD))
    ]


def test_whoever_waits_may_go_and_it_stays_out() -> None:
    told = out(polite(), within=60.0)
    told.tell(RequesterLeft(7), 105)

    assert told.tell(TimePassed(), 160)[:2] == [
        AskToLeave(worker(1, 0), 0),
        AskToLeave(worker(1, 1), 0),
    ]
    assert told.fleet.state.out is not None


def test_a_join_stops_the_asking() -> None:
    told = out(polite())
    told.tell(TimePassed(), 111)

    assert told.tell(JoinRequested(8, ALICE), 112) == [
        Answer(
            7,
            Failed(
                "operation-failed",
                "it is waited for no longer: the instance was told to join its load balancer again",
            ),
        ),
        TellStay(worker(1, 0)),
        TellStay(worker(1, 1)),
        Answer(8, Joined(12)),
    ]
    assert told.tell(TimePassed(), 1000) == []
    assert told.fleet.next_deadline() is None
    assert told.notes[-1].fields["seconds"] == 12


def test_one_that_is_in_can_join_and_is_told_so() -> None:
    assert polite().tell(JoinRequested(8), 100) == [Answer(8, Joined(None))]


def test_neither_is_done_while_it_starts_or_stops() -> None:
    early, late = starting(), polite()
    late.steer(late.tell(StopRequested(None), 18), 19)

    for told, why in (
        (early, "the instance has not started yet"),
        (late, "the instance is stopping"),
    ):
        assert told.tell(leave(), 20) == [Answer(7, Failed("busy", why))]
        assert told.tell(JoinRequested(8), 20) == [Answer(8, Failed("busy", why))]


def test_a_stop_ends_the_waiting() -> None:
    told = out(polite())
    actions = told.tell(StopRequested(9), 105)

    assert (
        Answer(
            7,
            Failed("operation-failed", "it is waited for no longer: the instance was told to stop"),
        )
        in actions
    )
    assert [one for one in told.tell(TimePassed(), 111) if isinstance(one, AskToLeave)] == []


def test_a_drain_that_has_reached_its_limit_is_not_disturbed() -> None:
    told = draining(replace(POLICY, drain_timeout=100.0))
    told.tell(WorkerJoined(worker(1, 1), closes=True, lets_go=False), 13)
    told.census(14, {worker(1, 1): 3})
    asked = [one for one in told.tell(TimePassed(), 112) if isinstance(one, AskToClose)]

    assert [one.worker for one in asked] == [worker(1, 1)]
    assert told.tell(leave(lead=0.0), 113) == []


def test_a_worker_that_crashes_meanwhile_is_replaced() -> None:
    told = out(polite())
    actions = told.tell(WorkerExited(worker(1, 0), Exit(status=1)), 105)

    assert any(getattr(one, "worker", None) == worker(1, 0, incarnation=2) for one in actions)


def test_a_reload_goes_on_as_ever() -> None:
    told = out(polite())
    told.begin_reload(105)
    told.make_ready(2, 106)
    told.steer(told.tell(TimePassed(), 107), 107)

    assert told.fleet.state.active is not None
    assert told.fleet.state.active.number == 2
    assert told.fleet.state.out is not None


@pytest.mark.parametrize("asked", [False, True])
def test_it_stays_out_over_an_upgrade_and_over_the_supervisors_death(*, asked: bool) -> None:
    told = out(polite())
    if asked:
        told.tell(TimePassed(), 111)
    for event in (
        Reexecuted("0.2.0", "0.1.0"),
        Recovered("0.2.0", "0.1.0", {worker(1, 0): 1000, worker(1, 1): 1001}, {}),
    ):
        told.fleet = load(dump(told.fleet))
        told.tell(event, 112 if asked else 105)

        assert told.fleet.state.out is not None
        assert told.fleet.state.out.since == 100
        due = told.fleet.next_deadline()
        assert due == (110 + OVER + ASK_AGAIN + 1 if asked else 110)


def test_after_a_death_nobody_is_answered_who_asked_before() -> None:
    told = out(polite())
    told.fleet = load(dump(told.fleet))
    told.tell(Recovered("0.2.0", "0.1.0", {worker(1, 0): 1000, worker(1, 1): 1001}, {}), 105)
    told.census(111, NOBODY)

    assert told.census(112, NOBODY) == []


def test_state_of_a_program_that_knew_no_leave_is_read() -> None:
    plain = dump(polite().fleet)
    del plain["state"]["out"]
    for generation in plain["state"]["generations"].values():
        for one in generation["workers"].values():
            del one["asked_until"]

    assert load(plain).state == polite().fleet.state


def test_an_operator_sees_since_when_and_who_is_left() -> None:
    told = out(polite(), within=60.0)
    told.tell(WorkerParted(worker(1, 1)), 101)
    found = view(told.fleet.state, 105).out

    assert found is not None
    assert (found.since, found.by, found.asks_from, found.deadline) == (100, "alice", 110, 160)
    assert (found.connections, found.waited_for, found.emptied_at) == (40, 20, None)


def test_a_count_that_a_worker_makes_up_keeps_nobody_waiting() -> None:
    told = out(polite())
    told.tell(WorkerCounted(worker(1, 0), 7), 105)
    told.tell(TimePassed(), 111)
    told.census(112, NOBODY)

    assert [one.request for one in told.census(113, NOBODY) if isinstance(one, Answer)] == [7]


def test_once_it_has_stopped_it_is_not_running() -> None:
    told = serving()
    told.steer(told.tell(StopRequested(1), 10), 10)
    for index in range(2):
        told.tell(WorkerExited(worker(1, index), Exit(status=0)), 11)

    assert told.tell(leave(), 12) == [Answer(7, Failed("not-running", "the instance has stopped"))]


def test_a_load_balancer_is_told_to_send_nobody() -> None:
    told = out(polite())

    assert why_not_ready(told.fleet.state) == "out of its load balancer, as alice wanted"
    assert agent_line(told.fleet.state) == "drain"

    told.tell(JoinRequested(8), 105)

    assert why_not_ready(told.fleet.state) is None
    assert agent_line(told.fleet.state) == "up ready"


def test_an_agent_says_down_only_where_nobody_serves() -> None:
    crashed = serving()
    for index in range(2):
        crashed.tell(WorkerExited(worker(1, index), Exit(status=1)), 10)

    assert agent_line(starting().fleet.state) == "down #starting: no generation serves yet"
    assert agent_line(crashed.fleet.state) == "down #no worker of generation 1 is ready"


def test_an_agent_of_one_that_stops_marks_nothing_down() -> None:
    """Which could end those who are still connected: they are asked to close."""
    told = polite()
    told.tell(StopRequested(None), 10)

    assert agent_line(told.fleet.state) == "drain"
