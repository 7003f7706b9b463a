"""What giver and taker send each other: what passes, what is ignored, what is refused."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wssupervisor.worker.handoff.fields import Malformed
from wssupervisor.worker.handoff.messages import (
    BATCH_MAX,
    BESIDE,
    CONNECTIONS_MAX,
    MESSAGE_BYTES,
    REASON_CHARS,
    Batch,
    Done,
    FromGiver,
    FromTaker,
    Hello,
    Kind,
    Refused,
    Taken,
    encode,
    from_giver,
    from_taker,
    refusals,
)

BY_TAKER: list[FromTaker] = [
    Hello(Kind.WEBSOCKETS, room=14_000),
    Hello(Kind.ASGI, room=0),
    Refused(7, {0: "unknown path", 99: "x" * REASON_CHARS}),
    Refused(7, why="descriptors were cut off"),
    Taken(7),
]
BY_GIVER: list[FromGiver] = [Batch(7, 32), Batch(2**53, CONNECTIONS_MAX, more=True), Done()]


@pytest.mark.parametrize("message", BY_TAKER)
def test_what_a_taker_sends_is_understood(message: FromTaker) -> None:
    assert from_taker(encode(message)) == message


@pytest.mark.parametrize("message", BY_GIVER)
def test_what_a_giver_sends_is_understood(message: FromGiver) -> None:
    assert from_giver(encode(message)) == message


def test_types_and_keys_of_a_later_version_are_ignored() -> None:
    assert from_taker(b'{"type": "teleport", "to": "mars"}') is None
    assert from_giver(b'{"type": "taken", "id": 7}') is None, "only a taker sends that"
    assert from_taker(b'{"type": "taken", "id": 7, "pause": 0.01}') == Taken(7)


def test_a_batch_has_a_claim_and_a_file_beside_its_connections() -> None:
    assert Batch(1, 32).descriptors == BESIDE + 32
    assert Batch(1, CONNECTIONS_MAX).descriptors <= 253, "SCM_MAX_FD"


def test_messages_at_the_bounds_are_understood() -> None:
    which = dict.fromkeys(range(BATCH_MAX - CONNECTIONS_MAX, BATCH_MAX), "why")
    longest = b'{"type": "done"}'.ljust(MESSAGE_BYTES)

    assert from_taker(encode(Refused(7, which))) == Refused(7, which)
    assert from_giver(longest) == Done()


@pytest.mark.parametrize(
    "positions", [range(CONNECTIONS_MAX + 1), [0, BATCH_MAX], [0, 1, 2, BATCH_MAX + 7]]
)
def test_a_refusal_of_too_many_or_too_high_positions_is_refused(positions: list[int]) -> None:
    which = {str(one): "why" for one in positions}
    data = json.dumps({"type": "refused", "id": 7, "which": which}).encode()
    with pytest.raises(Malformed, match=r"^refused: which: found an object of \d+, expected 1 to"):
        from_taker(data)


def test_a_batch_is_the_last_of_its_messages_unless_it_says_more() -> None:
    assert json.loads(encode(Batch(7, 1)))["more"] is False


WRONG_TAKER: list[tuple[bytes, str]] = [
    (b"", "message: not JSON: "),
    (b"\xff\xfe{}", "message: not JSON: "),
    (b"[" * 20_000, "message: not JSON: "),
    (b"[]", "message: found a list of 0, expected an object"),
    (b"{}", "message: type: found nothing, expected a string of at most 100 characters"),
    (b" " * (MESSAGE_BYTES + 1), "message: found 32769 bytes, expected at most 32768"),
    (
        b'{"type": "hello", "version": 2, "kind": "asgi", "room": 1}',
        "hello: version: found 2, expected an integer from 1 to 1",
    ),
    (
        b'{"type": "hello", "version": 1, "kind": "node", "room": 1}',
        "hello: kind: found 'node', expected websockets or asgi",
    ),
    (
        b'{"type": "hello", "version": 1, "kind": "asgi", "room": -1}',
        "hello: room: found -1, expected an integer from 0 to 10000000",
    ),
    (
        b'{"type": "hello", "version": true, "kind": "asgi", "room": 1}',
        "hello: version: found true, expected an integer from 1 to 1",
    ),
    (
        b'{"type": "taken", "id": 7.0}',
        "taken: id: found 7.0, expected an integer from 0 to 9007199254740992",
    ),
    (b'{"type": "taken", "id": NaN}', "message: not JSON: NaN is not JSON"),
    (
        b'{"type": "refused", "id": 7}',
        "refused: why: found nothing, expected a string of at most 100 characters",
    ),
    (
        b'{"type": "refused", "id": 7, "which": {}}',
        "refused: which: found an object of 0, expected 1 to 100 positions below 100000",
    ),
    (
        b'{"type": "refused", "id": 7, "which": {"100000": "why"}}',
        "refused: which: found an object of 1, expected 1 to 100 positions below 100000",
    ),
    (
        b'{"type": "refused", "id": 7, "which": {"-1": "why"}}',
        "refused: which: found the key '-1', expected positions from 0 to 99999",
    ),
    (
        b'{"type": "refused", "id": 7, "which": {"3": null}}',
        "refused: which: 3: found null, expected a string of at most 100 characters",
    ),
    (
        b'{"type": "refused", "id": 7, "which": "all"}',
        "refused: which: found 'all', expected an object",
    ),
]
WRONG_GIVER = [
    (
        b'{"type": "batch", "id": 7, "count": 101, "more": false}',
        "batch: count: found 101, expected an integer from 1 to 100",
    ),
    (
        b'{"type": "batch", "id": 7, "count": 1, "more": 0}',
        "batch: more: found 0, expected true or false",
    ),
    (
        b'{"type": "batch", "id": 1' + b"0" * 100 + b', "count": 1, "more": true}',
        "batch: id: found a number of more than 128 bits, expected an integer from 0 to",
    ),
]


@pytest.mark.parametrize(("data", "error"), WRONG_TAKER)
def test_a_wrong_message_of_a_taker_is_refused_with_what_is_allowed(
    data: bytes, error: str
) -> None:
    with pytest.raises(Malformed, match=f"^{re.escape(error)}"):
        from_taker(data)


@pytest.mark.parametrize(("data", "error"), WRONG_GIVER)
def test_a_wrong_message_of_a_giver_is_refused_with_what_is_allowed(
    data: bytes, error: str
) -> None:
    with pytest.raises(Malformed, match=f"^{re.escape(error)}"):
        from_giver(data)


@given(st.dictionaries(st.integers(0, BATCH_MAX - 1), st.text(max_size=300), min_size=1))
def test_any_refusal_fits_into_messages(which: dict[int, str]) -> None:
    messages = [encode(one) for one in refusals(7, which)]
    heard: dict[int, str] = {}
    for data in messages:
        message = from_taker(data)
        assert isinstance(message, Refused)
        heard.update(message.which)

    assert list(heard) == list(which)
    assert all(heard.values())


def test_the_longest_refusal_fits_into_a_message() -> None:
    which = dict.fromkeys(range(BATCH_MAX - CONNECTIONS_MAX, BATCH_MAX), '"' * 200)

    assert [len(encode(one)) <= MESSAGE_BYTES for one in refusals(2**53, which)] == [True]


def test_a_reason_is_printable_and_never_empty() -> None:
    found = json.loads(encode(Refused(1, {0: "\x1b[31m", 1: "", 2: "ä", 3: " a~"})))

    assert found["which"] == {"0": "?[31m", "1": "no reason given", "2": "?", "3": " a~"}
