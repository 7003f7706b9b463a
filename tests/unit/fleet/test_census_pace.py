"""When a census is due: what it is needed for, what it costs, and what hastens or puts it off."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.unit.fleet.driven import Driven, draining, serving, starting, worker
from wssupervisor.fleet.census_pace import CensusPace, Need, Taken, need, pause
from wssupervisor.fleet.events import CensusTaken, JoinRequested, LeaveRequested
from wssupervisor.fleet.model import WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.state import Drain, Reload, ReloadKind, ReloadPhase

CHEAP, COSTLY = 0.001, 0.02
"""Processor seconds of a census."""
NUMBERS, WAITED_FOR, DECIDES = Need.NUMBERS, Need.WAITED_FOR, Need.DECIDES


def paced(cpu_seconds: float = CHEAP, needs: Need = NUMBERS) -> CensusPace:
    """The last census began at 100 and ended at 101."""
    pace = CensusPace()
    pace.begin(100.0)
    pace.taken(Taken(100.0, cpu_seconds), needs, 101.0)
    return pace


def due_at(pace: CensusPace, needs: Need) -> float:
    """The first tenth of a second from 100 on at which a census is due."""
    return next(at / 10 for at in range(1000, 100_000) if pace.is_due(needs, at / 10))


# -- the interval ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu_seconds", "needs", "seconds"),
    [
        (0.0, NUMBERS, 30.0),
        (CHEAP, NUMBERS, 30.0),
        (0.015, NUMBERS, 30.0),
        (COSTLY, NUMBERS, 40.0),
        (1.0, NUMBERS, 2000.0),
        (0.0, WAITED_FOR, 0.5),
        (0.005, WAITED_FOR, 0.5),
        (COSTLY, WAITED_FOR, 2.0),
        (1.0, WAITED_FOR, 100.0),
        (CHEAP, DECIDES, 0.5),
        (1.0, DECIDES, 0.5),
    ],
)
def test_the_interval_follows_from_cost_and_need(
    cpu_seconds: float, needs: Need, seconds: float
) -> None:
    assert pause(cpu_seconds, needs) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("cpu_seconds", "at_the_end", "since_then", "at"),
    [
        (CHEAP, NUMBERS, NUMBERS, 131.0),
        (COSTLY, WAITED_FOR, WAITED_FOR, 102.0),  # 2 s from when the last one began
        (COSTLY, NUMBERS, WAITED_FOR, 102.0),
        (COSTLY, NUMBERS, DECIDES, 100.5),
        (COSTLY, WAITED_FOR, NUMBERS, 103.0),  # what was planned stays planned
        (COSTLY, DECIDES, NUMBERS, 101.5),
    ],
)
def test_a_need_that_arises_since_the_last_census_hastens_the_next(
    cpu_seconds: float, at_the_end: Need, since_then: Need, at: float
) -> None:
    assert due_at(paced(cpu_seconds, at_the_end), since_then) == pytest.approx(at)


@pytest.mark.parametrize("needs", Need)
def test_a_new_supervisor_counts_at_once(needs: Need) -> None:
    pace = CensusPace()

    assert pace.is_due(needs, 0.0)
    assert not pace.may_put_off(needs)


@pytest.mark.parametrize("needs", Need)
def test_a_census_that_failed_is_tried_again_after_the_idle_interval(needs: Need) -> None:
    pace = CensusPace()
    pace.begin(100.0)

    assert due_at(pace, needs) == pytest.approx(130.0)
    assert not pace.may_put_off(needs)


def test_one_that_fails_while_an_answer_waits_is_tried_again_at_the_rate_of_the_last() -> None:
    pace = paced(COSTLY)
    pace.begin(110.0)

    assert due_at(pace, WAITED_FOR) == pytest.approx(112.0)


# -- what hastens it ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NoteKind)
def test_what_depends_on_a_census_has_it_taken_at_once(kind: NoteKind) -> None:
    pace = paced(1.0)
    pace.noted(kind)

    assert pace.is_due(NUMBERS, 101.0) == (
        kind.value in {"reload-begun", "rollback-begun", "releasing-sockets", "worker-unresponsive"}
    )
    assert pace.may_put_off(NUMBERS) != pace.is_due(NUMBERS, 101.0)


def test_a_census_under_way_does_not_count_for_what_began_after_it() -> None:
    pace = paced()
    pace.begin(110.0)
    pace.count_at_once()
    pace.taken(Taken(110.0, CHEAP), NUMBERS, 111.0)
    again = pace.is_due(NUMBERS, 111.0)
    pace.begin(111.0)

    assert again
    assert not pace.is_due(NUMBERS, 111.0)


def test_a_worker_that_seems_not_to_listen_is_counted_soon_at_a_price_that_may_put_it_off() -> None:
    pace = paced()
    pace.count_soon(110.0)
    pace.count_soon(110.3)  # seen again: it is not put off by that

    assert due_at(pace, NUMBERS) == pytest.approx(110.5)
    assert pace.may_put_off(NUMBERS)


@pytest.mark.parametrize(
    ("growth", "cpu_seconds", "put_off", "at"),
    [
        (1.0, COSTLY, False, 140.0),
        (2.0, COSTLY, True, 180.0),
        (0.1, COSTLY, False, 140.0),  # a census of fewer connections may cost the same
        (10.0, CHEAP, False, 120.0),
        (30.0, CHEAP, True, 160.0),
    ],
)
def test_a_census_for_numbers_alone_is_put_off_if_it_has_become_expensive(
    growth: float, cpu_seconds: float, put_off: bool, at: float
) -> None:
    pace = paced(cpu_seconds)

    assert pace.put_off(growth, 141.0) == put_off
    assert due_at(pace, NUMBERS) == pytest.approx(at)


@pytest.mark.parametrize("needs", [WAITED_FOR, DECIDES])
def test_one_that_is_waited_for_is_not_put_off(needs: Need) -> None:
    assert not paced().may_put_off(needs)
    assert paced().may_put_off(NUMBERS)


# -- operators and monitoring ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu_seconds", "age", "fresh"),
    [
        (CHEAP, 0.9, True),
        (CHEAP, 1.0, False),
        (0.1, 1.9, True),  # 5 % of a core
        (0.1, 2.0, False),
    ],
)
def test_a_recent_census_answers_status(cpu_seconds: float, age: float, fresh: bool) -> None:
    assert paced(cpu_seconds).answers_status(100.0 + age) == fresh


def test_no_census_answers_nothing() -> None:
    pace = CensusPace()

    assert not pace.answers_status(0.0)
    assert not pace.is_expensive()
    assert not pace.refreshes_metrics(NUMBERS, 1000.0, reloading=False)


@pytest.mark.parametrize(("cpu_seconds", "expensive"), [(0.0099, False), (0.01, True)])
def test_an_expensive_census_needs_a_reason(cpu_seconds: float, expensive: bool) -> None:
    assert paced(cpu_seconds).is_expensive() == expensive


@pytest.mark.parametrize(
    ("needs", "now", "reloading", "refreshes"),
    [
        (NUMBERS, 102.0, False, True),
        (NUMBERS, 101.9, False, False),
        (NUMBERS, 102.0, True, False),
        (WAITED_FOR, 102.0, False, False),
        (DECIDES, 102.0, False, False),
    ],
)
def test_a_scrape_hastens_a_census_that_nothing_else_does(
    needs: Need, now: float, reloading: bool, refreshes: bool
) -> None:
    assert paced(COSTLY).refreshes_metrics(needs, now, reloading=reloading) == refreshes


# -- what it is needed for ------------------------------------------------------------------------


def stalling() -> Driven:
    fleet = serving()
    fleet.look(10, slot_10=1)
    for at in range(1, 4):
        fleet.look(10 + at * 0.9, slot_10=1)
    return fleet


def out() -> Driven:
    fleet = serving()
    fleet.handle(LeaveRequested(1, lead=0.0), 10)
    return fleet


def emptied() -> Driven:
    fleet = out()
    fleet.look(11)
    for at in (11, 12):
        fleet.handle(CensusTaken({worker(1, 0): 0, worker(1, 1): 0}, 0, began_at=at), at)
    return fleet


def in_again() -> Driven:
    fleet = out()
    fleet.handle(JoinRequested(2), 11)
    return fleet


def half_proven() -> Driven:
    fleet = draining()
    now = max(own.drain.since for own in fleet.state.workers() if own.drain) + 1
    fleet.look(now)
    fleet.census(now, {own.id: 0 for own in fleet.state.workers()})
    return fleet


def without_slots() -> Driven:
    fleet = serving()
    fleet.handle(CensusTaken({worker(1): 0}, 0, began_at=10, listening={worker(1): set()}), 10)
    return fleet


def releasing() -> Driven:
    fleet = serving()
    fleet.state.reload = Reload(
        1, ReloadKind.RELOAD, None, 10, 70, ReloadPhase.RELEASING_SOCKETS, generation=None
    )
    return fleet


def reloading() -> Driven:
    fleet = releasing()
    assert fleet.state.reload is not None
    fleet.state.reload.phase = ReloadPhase.STARTING
    return fleet


@pytest.mark.parametrize(
    ("make", "needs"),
    [
        (starting, NUMBERS),
        (serving, NUMBERS),
        (reloading, NUMBERS),
        (in_again, NUMBERS),
        (emptied, NUMBERS),
        (draining, WAITED_FOR),
        (stalling, WAITED_FOR),
        (out, WAITED_FOR),
        (half_proven, DECIDES),
        (without_slots, DECIDES),
        (releasing, DECIDES),
    ],
)
def test_what_the_next_census_is_needed_for(make: Callable[[], Driven], needs: Need) -> None:
    fleet = make()

    assert need(fleet.state) is needs
    assert fleet.core.census_need() is needs


@pytest.mark.parametrize(("rounds", "needs"), [(0, WAITED_FOR), (1, DECIDES), (2, WAITED_FOR)])
def test_a_drain_that_is_proven_empty_needs_no_further_proof(rounds: int, needs: Need) -> None:
    fleet = draining()
    for one in fleet.state.workers():
        if one.drain is not None:
            one.drain = replace(one.drain, empty_rounds=rounds)

    assert need(fleet.state) is needs


def test_a_worker_that_is_ending_needs_no_census() -> None:
    fleet = serving()
    one = next(iter(fleet.state.workers()))
    one.state, one.drain = WorkerState.STOPPING, Drain(10, 10, None, empty_rounds=1)

    assert need(fleet.state) is NUMBERS


def test_a_census_is_put_off_until_its_cost_fits_and_no_longer() -> None:
    pace = paced(1.0)

    assert pace.put_off(1.0, 2099.9)
    assert not pace.put_off(1.0, 2100.0)
