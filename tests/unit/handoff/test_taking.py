"""What the taker decides: judged as a whole, refused before the claim, begun together."""

import pytest

from wssupervisor.worker.handoff.connection import Decision, Step
from wssupervisor.worker.handoff.fields import Malformed
from wssupervisor.worker.handoff.messages import BATCH_MAX
from wssupervisor.worker.handoff.taker_events import (
    Action,
    ClaimRead,
    Do,
    Event,
    GiverGone,
    HandlerFailed,
    HandlersBegun,
    Judge,
    Judged,
    LeaveBatch,
    PartHeard,
    ReadClaim,
    RefusalFailed,
    RefusalSent,
    SendRefused,
    SendTaken,
)
from wssupervisor.worker.handoff.taking import Taker

NEXT_CALL = Decision.CALL_HANDLER


def taker(*events: Event) -> Taker:
    found = Taker()
    for event in events:
        found.handle(event)
    return found


def heard(count: int = 2, batch: int = 7) -> PartHeard:
    return PartHeard(batch, count, more=False)


def done(decision: Decision, *positions: int, batch: int = 7) -> list[Action]:
    return [Do(batch, at, decision) for at in positions]


def test_a_batch_is_judged_claimed_and_begun() -> None:
    found = Taker()
    actions = [
        found.handle(event)
        for event in (heard(), Judged(7, {}), ClaimRead(7, won=True), HandlersBegun(7))
    ]

    assert actions == [
        [Judge(7, 2)],
        [ReadClaim(7)],
        [SendTaken(7), *done(NEXT_CALL, 0, 1)],
        done(Decision.START_READING, 0, 1),
    ]
    assert (found.taken, found.refused, found.withdrawn) == (2, 0, 0)


def test_a_batch_of_several_messages_is_judged_when_the_last_one_has_come() -> None:
    found = Taker()
    first = found.handle(PartHeard(7, 100, more=True))

    assert first == []
    assert found.handle(PartHeard(7, 20, more=False)) == [Judge(7, 120)]


def test_what_is_refused_is_reported_before_the_claim_and_let_go_after_it() -> None:
    found = taker(heard(3))
    refused = found.handle(Judged(7, {1: "unknown path"}))
    sent = found.handle(RefusalSent(7))
    claimed = found.handle(ClaimRead(7, won=True))

    assert (refused, sent) == ([SendRefused(7, {1: "unknown path"})], [ReadClaim(7)])
    assert claimed == [
        SendTaken(7),
        Do(7, 0, NEXT_CALL),
        Do(7, 1, Decision.LET_GO),
        Do(7, 2, NEXT_CALL),
    ]
    assert (found.taken, found.refused) == (2, 1)
    assert found.handle(HandlersBegun(7)) == done(Decision.START_READING, 0, 2)


def test_a_batch_of_which_all_is_refused_is_not_claimed() -> None:
    found = taker(heard())

    assert found.handle(Judged(7, {0: "no", 1: "no"})) == [
        LeaveBatch(7, {0: "no", 1: "no"}),
        *done(Decision.LET_GO, 0, 1),
    ]
    assert (found.refused, found.taken) == (2, 0)


def test_a_refusal_that_the_giver_does_not_read_leaves_the_batch_unclaimed() -> None:
    """A refused connection of a claimed batch would have no owner if the refusal were lost."""
    found = taker(heard(), Judged(7, {0: "no"}))

    assert found.handle(RefusalFailed(7, gone=False)) == done(Decision.LET_GO, 0, 1)
    assert found.withdrawn == 2


def test_a_batch_of_a_giver_that_has_died_is_claimed_without_those_refused() -> None:
    found = taker(heard(), Judged(7, {0: "no"}))

    assert found.handle(RefusalFailed(7, gone=True)) == [ReadClaim(7)]


def test_a_batch_that_the_giver_took_back_is_let_go() -> None:
    found = taker(heard(), Judged(7, {}))

    assert found.handle(ClaimRead(7, won=False)) == done(Decision.LET_GO, 0, 1)
    assert (found.taken, found.withdrawn) == (0, 2)


@pytest.mark.parametrize("at", [0, 1])
def test_a_batch_with_cut_off_descriptors_is_left_unclaimed_when_it_is_complete(at: int) -> None:
    found = Taker()
    problems = ["", ""]
    problems[at] = "descriptors were cut off"
    first = found.handle(PartHeard(7, 2, more=True, problem=problems[0]))
    second = found.handle(PartHeard(7, 1, more=False, problem=problems[1]))

    assert first == []
    assert second == [
        LeaveBatch(7, {}, "descriptors were cut off"),
        *done(Decision.LET_GO, 0, 1, 2),
    ]
    assert found.refused == 3


def test_the_largest_batch_is_judged() -> None:
    found = taker(PartHeard(7, BATCH_MAX - 100, more=True))

    assert found.handle(PartHeard(7, 100, more=False)) == [Judge(7, BATCH_MAX)]


def test_a_batch_without_end_is_left() -> None:
    found = taker(PartHeard(7, BATCH_MAX, more=True), PartHeard(7, 100, more=True))

    assert found.handle(PartHeard(7, 1, more=False))[0] == LeaveBatch(
        7, {}, f"a batch has at most {BATCH_MAX} connections"
    )


def test_a_complete_batch_that_continues_breaks_the_protocol() -> None:
    found = taker(heard())
    with pytest.raises(Malformed, match="batch: 7 was complete, and continues"):
        found.handle(heard())

    assert found.handle(Judged(7, {})) == [ReadClaim(7)]


def test_a_batch_that_never_became_complete_is_let_go_and_the_others_continue() -> None:
    found = taker(heard(batch=1), PartHeard(2, 2, more=True))
    gone = found.handle(GiverGone())

    assert gone == done(Decision.LET_GO, 0, 1, batch=2)
    assert found.handle(Judged(1, {})) == [ReadClaim(1)]
    assert not found.done


def test_a_taker_is_done_when_the_giver_is_and_its_handlers_have_begun() -> None:
    found = taker(heard(), Judged(7, {}), ClaimRead(7, won=True), GiverGone())
    before = found.done
    found.handle(HandlersBegun(7))

    assert (before, found.done) == (False, True)


def test_a_handler_that_fails_at_once_closes_its_connection_alone() -> None:
    found = taker(heard(), Judged(7, {}), ClaimRead(7, won=True))
    found.handle(HandlerFailed(7, 0))

    assert found.step(7, 0) is Step.CLOSED
    assert found.handle(HandlersBegun(7)) == done(Decision.START_READING, 1)


def test_a_taker_is_not_done_while_the_giver_may_send() -> None:
    assert not Taker().done
    assert taker(GiverGone()).done


def test_an_unknown_connection_has_no_step() -> None:
    assert taker(heard()).step(7, 2) is None
    assert taker(heard()).step(8, 0) is None
