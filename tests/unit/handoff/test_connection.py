"""The steps of one connection, and its owner at each."""

import re

import pytest

from wssupervisor.worker.handoff import connection as module
from wssupervisor.worker.handoff.connection import (
    OWNED,
    READS,
    TRANSITIONS,
    WRITES,
    Connection,
    Decision,
    Happened,
    Impossible,
    Step,
)


def after(*happened: Happened, step: Step = Step.OPEN) -> Connection:
    connection = Connection(step)
    for one in happened:
        connection.handle(one)
    return connection


def test_a_connection_that_is_taken_is_ended_frozen_and_let_go() -> None:
    connection = Connection()
    happened = (Happened.CHOSEN, Happened.FROZEN, Happened.TAKEN)
    decisions = [connection.handle(one) for one in happened]

    assert decisions == [Decision.END_HANDLER, None, Decision.LET_GO]
    assert (connection.step, connection.owned) == (Step.GONE, False)


def test_a_connection_that_arrives_is_read_after_its_handler_has_begun() -> None:
    connection = Connection(Step.OFFERED)
    claimed = connection.handle(Happened.CLAIMED)
    before = connection.owned, connection.writes, connection.reads
    begun = connection.handle(Happened.HANDLERS_BEGUN)

    assert (claimed, before) == (Decision.CALL_HANDLER, (True, True, False))
    assert (begun, connection.reads) == (Decision.START_READING, True)


def test_a_connection_that_arrives_cannot_be_given_before_its_handler_has_begun() -> None:
    with pytest.raises(Impossible, match="a connection that is arriving cannot be chosen"):
        after(Happened.CLAIMED, Happened.CHOSEN, step=Step.OFFERED)


@pytest.mark.parametrize("happened", [Happened.UNMOVABLE, Happened.RETURNED])
def test_a_connection_that_stays_has_its_handler_called_again(happened: Happened) -> None:
    before = () if happened is Happened.UNMOVABLE else (Happened.FROZEN,)
    connection = after(Happened.CHOSEN, *before)

    assert connection.handle(happened) is Decision.THAW
    assert (connection.step, connection.reads, connection.writes) == (Step.OPEN, True, True)


def test_a_handler_that_is_overdue_is_cancelled_and_the_connection_still_ends() -> None:
    connection = after(Happened.CHOSEN)

    assert connection.handle(Happened.OVERDUE) is Decision.CANCEL_HANDLER
    assert connection.step is Step.ENDING


def test_what_was_offered_and_not_claimed_is_let_go() -> None:
    connection = Connection(Step.OFFERED)
    before = connection.owned

    assert not before
    assert connection.handle(Happened.NOT_CLAIMED) is Decision.LET_GO


@pytest.mark.parametrize("step", [Step.GONE, Step.CLOSED])
def test_nothing_happens_to_a_connection_that_has_ended_here(step: Step) -> None:
    for happened in Happened:
        with pytest.raises(Impossible):
            Connection(step).handle(happened)


def test_only_an_owner_reads_or_writes_and_nobody_while_frozen() -> None:
    assert READS | WRITES <= OWNED
    assert OWNED - READS - WRITES == {Step.FROZEN}


def test_each_interrupted_handler_leads_to_one_that_is_called_or_a_closed_connection() -> None:
    """Every way on from ENDING ends in a call, a close, or another process."""
    ends = {
        (to, decision)
        for (step, _), (to, decision) in TRANSITIONS.items()
        if step in (Step.ENDING, Step.FROZEN) and to not in (Step.ENDING, Step.FROZEN)
    }

    assert ends == {
        (Step.OPEN, Decision.THAW),
        (Step.CLOSED, None),
        (Step.GONE, Decision.LET_GO),
    }


def test_the_tables_of_the_docstring_name_each_step() -> None:
    rows = set(re.findall(r"^\| ([A-Z]+) \|", module.__doc__ or "", re.MULTILINE))

    assert rows | {"CLOSED"} == {one.name for one in Step}
