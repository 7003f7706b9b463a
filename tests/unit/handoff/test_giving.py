"""What the giver decides: batches, slow handlers, groups, refusals, and a taker that fails."""

import pytest

from wssupervisor.worker.handoff.connection import Decision, Impossible, Step
from wssupervisor.worker.handoff.giver_events import (
    Action,
    Chosen,
    ClaimRead,
    Do,
    Event,
    Finish,
    Greeted,
    HandlerFailed,
    HandlerReturned,
    ReadClaim,
    RefusedHeard,
    SendBatch,
    SendDone,
    SendFailed,
    Stop,
    TakenHeard,
    TakerGone,
    TimePassed,
)
from wssupervisor.worker.handoff.giving import (
    BATCH_SIZE,
    CANCELLED_WITHIN,
    CLAIMED_WITHIN,
    ENDS_WITHIN,
    PUT_ASIDE_AFTER,
    Giver,
)


def giver(*events: Event, room: int = 1000, limit: int = 1000, now: float = 0.0) -> Giver:
    found = Giver(limit)
    for event in (Greeted(room), *events):
        found.handle(event, now)
    return found


def returned(*keys: int) -> tuple[HandlerReturned, ...]:
    return tuple(HandlerReturned(key, frozen=True) for key in keys)


def in_flight(*keys: int) -> Giver:
    return giver(Chosen(keys), *returned(*keys))


def done(keys: tuple[int, ...], decision: Decision) -> list[Action]:
    return [Do(key, decision) for key in keys]


def test_nothing_is_wanted_before_the_taker_has_said_hello() -> None:
    assert (Giver().wanted(), Giver().room) == (0, 0)
    assert giver().wanted() == BATCH_SIZE


@pytest.mark.parametrize(("room", "limit"), [(5, 1000), (1000, 5)])
def test_no_more_is_wanted_than_the_taker_can_hold_or_was_ordered(room: int, limit: int) -> None:
    found = giver(room=room, limit=limit)
    before = found.wanted()
    found.handle(Chosen((1, 2, 3)), 0)

    assert (before, found.wanted()) == (5, 2)


def test_two_batches_are_under_way_at_most() -> None:
    found = giver(Chosen((1,)), Chosen((2,)), HandlerReturned(1, frozen=True))

    assert found.wanted() == 0


def test_a_batch_is_sent_when_its_handlers_have_returned() -> None:
    found = giver()
    chosen = found.handle(Chosen((4, 7)), 0)
    first = found.handle(HandlerReturned(4, frozen=True), 0)
    second = found.handle(HandlerReturned(7, frozen=True), 0)

    assert chosen == done((4, 7), Decision.END_HANDLER)
    assert (first, second) == ([], [SendBatch(1, (4, 7))])
    assert found.step(4) is Step.FROZEN


def test_what_the_taker_reports_is_settled_by_the_claim() -> None:
    found = in_flight(1, 2)
    asked = found.handle(TakenHeard(1), 0.1)

    assert asked == [ReadClaim(1)]
    assert found.handle(ClaimRead(1, won=False), 0.1) == done((1, 2), Decision.LET_GO)
    assert (found.moved, found.returned, found.wanted()) == (2, 0, BATCH_SIZE)


def test_a_taker_that_reports_a_batch_without_its_claim_gets_nothing() -> None:
    found = in_flight(1)
    found.handle(TakenHeard(1), 0.1)

    assert found.handle(ClaimRead(1, won=True), 0.1) == [Do(1, Decision.THAW), SendDone()]
    assert (found.moved, found.returned, found.done) == (0, 1, True)


def test_what_was_refused_before_the_claim_returns() -> None:
    found = in_flight(1, 2, 3)
    heard = found.handle(RefusedHeard(1, {1: "it does not know the path"}), 0.1)
    found.handle(TakenHeard(1), 0.1)

    assert heard == []
    assert found.handle(ClaimRead(1, won=False), 0.1) == [
        Do(1, Decision.LET_GO),
        Do(2, Decision.THAW),
        Do(3, Decision.LET_GO),
    ]
    assert (found.moved, found.returned, found.stopped) == (2, 1, None)


def test_a_batch_whose_connections_were_all_refused_returns_at_once_and_more_is_given() -> None:
    found = in_flight(1, 2)
    asked = found.handle(RefusedHeard(1, {0: "no", 1: "no"}), 0.1)
    settled = found.handle(ClaimRead(1, won=True), 0.1)

    assert asked == [ReadClaim(1)]
    assert settled == done((1, 2), Decision.THAW)
    assert (found.stopped, found.wanted()) == (None, BATCH_SIZE)


def test_a_refusal_of_a_position_that_the_batch_does_not_have_means_nothing() -> None:
    found = in_flight(1, 2)
    heard = found.handle(RefusedHeard(1, {2: "no", 90: "no"}), 0.1)

    assert heard == []
    assert found.handle(ClaimRead(1, won=False), 0.1) == done((1, 2), Decision.LET_GO)


def test_a_batch_that_was_refused_as_a_whole_stops_the_giver() -> None:
    found = in_flight(1, 2)
    asked = found.handle(RefusedHeard(1, {}, "descriptors were cut off"), 0.1)
    settled = found.handle(ClaimRead(1, won=True), 0.1)

    assert asked == [ReadClaim(1)]
    assert settled == [*done((1, 2), Decision.THAW), SendDone()]
    assert found.stopped == "refused by the taker: descriptors were cut off"


def test_a_taker_that_is_slow_loses_the_batch_and_gets_no_other() -> None:
    found = in_flight(1)
    early = found.handle(TimePassed(), CLAIMED_WITHIN - 0.01)
    late = found.handle(TimePassed(), CLAIMED_WITHIN)
    again = found.handle(TimePassed(), CLAIMED_WITHIN + 1)

    assert (early, late, again) == ([], [ReadClaim(1)], [])
    assert found.handle(ClaimRead(1, won=True), 2) == [Do(1, Decision.THAW), SendDone()]
    assert found.stopped == "the taker did not claim a batch in time"


def test_a_taker_that_is_slow_to_report_keeps_what_it_claimed() -> None:
    found = in_flight(1)
    found.handle(TimePassed(), CLAIMED_WITHIN)

    assert found.handle(ClaimRead(1, won=False), 2) == [Do(1, Decision.LET_GO)]
    assert found.stopped is None


def test_news_of_a_settled_batch_changes_nothing() -> None:
    found = in_flight(1)
    found.handle(TimePassed(), CLAIMED_WITHIN)
    found.handle(ClaimRead(1, won=False), 2)

    assert found.handle(TakenHeard(1), 2) == []
    assert found.handle(RefusedHeard(1, {0: "no"}), 2) == []


def test_a_taker_that_has_gone_costs_only_what_it_claimed() -> None:
    found = in_flight(1)
    for event in (Chosen((2,)), HandlerReturned(2, frozen=True)):
        found.handle(event, 0)
    gone = found.handle(TakerGone("its end is closed"), 0.1)
    first = found.handle(ClaimRead(1, won=False), 0.1)
    second = found.handle(ClaimRead(2, won=True), 0.1)

    assert gone == [ReadClaim(1), ReadClaim(2)]
    assert (first, second) == ([Do(1, Decision.LET_GO)], [Do(2, Decision.THAW), SendDone()])


def test_what_is_frozen_returns_when_the_taker_has_gone_and_nothing_more_is_wanted() -> None:
    found = giver(Chosen((1, 2)), HandlerReturned(1, frozen=True))
    gone = found.handle(TakerGone("its end is closed"), 0.01)

    assert gone == [Do(1, Decision.THAW)]
    assert (found.wanted(), found.stopped) == (0, "its end is closed")


def test_what_is_frozen_returns_at_a_stop_and_what_is_ending_when_its_handler_has_returned() -> (
    None
):
    found = giver(Chosen((1, 2)), HandlerReturned(1, frozen=True))
    stopped = found.handle(Stop("a reload begins"), 0.01)

    assert stopped == [Do(1, Decision.THAW)]
    assert found.handle(HandlerReturned(2, frozen=True), 0.02) == [Do(2, Decision.THAW), SendDone()]
    assert (found.stopped, found.returned) == ("a reload begins", 2)


def test_what_is_in_flight_at_a_stop_is_still_claimed_or_taken_back() -> None:
    found = in_flight(1)

    assert found.handle(Stop("a reload begins"), 0.01) == []
    assert not found.done
    assert found.deadline() == CLAIMED_WITHIN


def test_what_was_chosen_still_moves_when_the_giver_is_to_finish() -> None:
    found = giver(Chosen((1,)))
    finishing = found.handle(Finish(), 0)
    sent = found.handle(HandlerReturned(1, frozen=True), 0)
    found.handle(TakenHeard(1), 0)

    assert (finishing, sent, found.wanted()) == ([], [SendBatch(1, (1,))], 0)
    assert found.handle(ClaimRead(1, won=False), 0) == [Do(1, Decision.LET_GO), SendDone()]


def test_a_giver_with_nothing_in_hand_is_done_once() -> None:
    found = giver()

    assert found.handle(Finish(), 0) == [SendDone()]
    assert found.handle(TakerGone("it has ended, too"), 0) == []
    assert found.done


def test_a_slow_handler_delays_no_other_connection() -> None:
    found = giver(Chosen((1, 2)), HandlerReturned(1, frozen=True))
    early = found.handle(TimePassed(), PUT_ASIDE_AFTER - 0.01)
    late = found.handle(TimePassed(), PUT_ASIDE_AFTER)

    assert (early, late) == ([], [SendBatch(1, (1,))])
    assert found.handle(HandlerReturned(2, frozen=True), 1) == [SendBatch(2, (2,))]


def test_a_slow_handler_is_cancelled_once() -> None:
    found = giver(Chosen((1,)))
    found.handle(TimePassed(), PUT_ASIDE_AFTER)
    due = found.deadline()

    assert due == pytest.approx(ENDS_WITHIN)
    assert found.handle(TimePassed(), due) == [Do(1, Decision.CANCEL_HANDLER)]
    assert found.handle(TimePassed(), due + 5) == []


def test_a_group_waits_for_all_of_its_handlers() -> None:
    found = giver(Chosen((1, 2), together=True), HandlerReturned(1, frozen=True))
    aside = found.handle(TimePassed(), PUT_ASIDE_AFTER)

    assert aside == []
    assert found.handle(HandlerReturned(2, frozen=True), 1) == [SendBatch(1, (1, 2))]


def test_a_group_leaves_without_a_handler_that_does_not_even_end_when_cancelled() -> None:
    found = giver(Chosen((1, 2), together=True), HandlerReturned(1, frozen=True))
    cancelled = found.handle(TimePassed(), ENDS_WITHIN)
    left = found.handle(TimePassed(), ENDS_WITHIN + CANCELLED_WITHIN)
    later = found.handle(TimePassed(), 100)

    assert (cancelled, left) == ([Do(2, Decision.CANCEL_HANDLER)], [SendBatch(1, (1,))])
    assert later == [ReadClaim(1)], "it is not cancelled again"


def test_a_handler_that_was_cancelled_is_not_cancelled_again_by_a_stop() -> None:
    found = giver(Chosen((1, 2), together=True))
    found.handle(TimePassed(), ENDS_WITHIN)
    found.handle(Stop("a reload begins"), ENDS_WITHIN)

    assert found.handle(TimePassed(), 100) == []


def test_a_group_may_be_larger_than_a_batch_but_not_than_the_room() -> None:
    found = giver(room=BATCH_SIZE + 1)
    sent = found.handle(Chosen(tuple(range(BATCH_SIZE + 1)), together=True), 0)

    assert len(sent) == BATCH_SIZE + 1
    with pytest.raises(AssertionError):
        giver(room=2).handle(Chosen((1, 2, 3), together=True), 0)


def test_a_connection_that_cannot_move_after_all_stays_and_its_batch_leaves() -> None:
    found = giver(Chosen((1, 2)), HandlerReturned(1, frozen=True))

    assert found.handle(HandlerReturned(2, frozen=False), 0) == [
        Do(2, Decision.THAW),
        SendBatch(1, (1,)),
    ]
    assert found.returned == 1


def test_a_handler_that_fails_closes_its_connection_and_its_batch_leaves() -> None:
    found = giver(Chosen((1, 2)), HandlerReturned(1, frozen=True))

    assert found.handle(HandlerFailed(2), 0) == [SendBatch(1, (1,))]
    assert (found.moved, found.returned) == (0, 0)


def test_a_batch_of_which_nothing_is_left_is_not_sent() -> None:
    found = giver(Chosen((1,)))

    assert found.handle(HandlerFailed(1), 0) == []
    assert found.wanted() == BATCH_SIZE


def test_a_batch_that_cannot_be_sent_is_taken_back() -> None:
    found = in_flight(1)
    failed = found.handle(SendFailed(1, "too many descriptors are in flight"), 0)

    assert failed == [ReadClaim(1)]
    assert found.handle(ClaimRead(1, won=True), 0) == [Do(1, Decision.THAW), SendDone()]
    assert found.stopped == "too many descriptors are in flight"


def test_a_connection_that_is_not_in_hand_cannot_be_settled() -> None:
    found = giver(Chosen((1,)))
    with pytest.raises(KeyError):
        found.handle(ClaimRead(1, won=True), 0)
    found.handle(HandlerReturned(1, frozen=True), 0)
    with pytest.raises(Impossible):
        found.handle(HandlerReturned(1, frozen=True), 0)
