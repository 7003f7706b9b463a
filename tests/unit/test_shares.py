"""Which control clients stay when there are many."""

from wssupervisor.control.shares import (
    CLIENTS_MAX,
    OWNER_SHARE,
    SHARE,
    Admission,
    Seat,
    admission,
)

ANNA, BERT = 1001, 1002
LET_IN = Admission(admitted=True)
REFUSED = Admission(admitted=False)


def seat(uid: int, idle_since: float | None = None) -> Seat:
    return Seat(uid, uid == 0, idle_since)


def full(uids: int) -> list[Seat]:
    """All places of members are taken, by `uids` users, each waiting for an answer."""
    return [seat(2000 + at % uids) for at in range(CLIENTS_MAX)]


def test_there_is_room_for_a_share_of_each_user() -> None:
    assert admission(seat(ANNA, 1.0), [seat(ANNA)] * (SHARE - 1)) == LET_IN
    assert admission(seat(BERT, 1.0), [seat(ANNA)] * SHARE) == LET_IN


def test_in_a_full_share_the_one_that_is_idle_longest_closes() -> None:
    seats = [seat(BERT, 0.0), *[seat(ANNA)] * (SHARE - 2), seat(ANNA, 7.0), seat(ANNA, 5.0)]

    assert admission(seat(ANNA, 9.0), seats) == Admission(admitted=True, closes=SHARE)


def test_a_share_whose_connections_all_wait_for_an_answer_takes_no_more() -> None:
    assert admission(seat(ANNA, 1.0), [seat(ANNA)] * SHARE) == REFUSED


def test_where_all_places_are_taken_the_largest_user_gives_one_up() -> None:
    largest = [seat(2000 + at // SHARE, 100.0 + at) for at in range(CLIENTS_MAX - 1)]
    seats = [seat(BERT, 1.0), *largest]

    assert admission(seat(ANNA, 9.0), seats) == Admission(admitted=True, closes=1)
    assert admission(seat(ANNA, 9.0), full(8)) == REFUSED


def test_root_gets_in_whatever_the_others_hold() -> None:
    assert admission(seat(0, 1.0), full(4)) == LET_IN
    assert admission(seat(0, 1.0), full(CLIENTS_MAX)) == LET_IN


def test_root_gets_in_beyond_its_own_share() -> None:
    seats = [*[seat(0)] * OWNER_SHARE, seat(0, 3.0)]

    assert admission(seat(0, 9.0), seats) == Admission(admitted=True, closes=OWNER_SHARE)
    assert admission(seat(0, 9.0), [seat(0)] * (2 * OWNER_SHARE)) == LET_IN
