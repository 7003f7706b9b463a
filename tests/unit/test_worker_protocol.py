"""What worker and supervisor say to each other: what passes, what is ignored, what is refused."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wssupervisor.worker.lines import LINE_BYTES
from wssupervisor.worker.protocol import (
    BAD_CHARS,
    CONNECTIONS_MAX,
    Alive,
    Bad,
    Close,
    Counts,
    Drain,
    FromSupervisor,
    FromWorker,
    Hello,
    Ready,
    Refused,
    Resume,
    Stay,
    Welcome,
    encode,
    from_supervisor,
    from_worker,
)

SAID = [Hello(1, ("close", "fly"), "mine 3"), Ready(), Alive(), Counts(7, 2)]
TOLD = [
    Welcome(1, 0.5),
    Drain(("ws", "raw")),
    Drain(),
    Resume(),
    Close(1012, "new", 20.0, 30.0),
    Close(1012, "out", 20.0, 20.0, everyone=False),
    Stay(),
    Refused("not JSON"),
]


def line(message: FromWorker | FromSupervisor) -> bytes:
    """As it is read: without its newline, which is the only one."""
    encoded = encode(message)
    assert encoded.index(b"\n") == len(encoded) - 1
    return encoded[:-1]


@pytest.mark.parametrize("message", SAID)
def test_what_a_worker_says_is_understood(message: FromWorker) -> None:
    assert from_worker(line(message)) == message


@pytest.mark.parametrize("message", TOLD)
def test_what_it_is_told_is_understood(message: FromSupervisor) -> None:
    assert from_supervisor(line(message)) == message


def test_types_and_keys_of_a_later_version_are_ignored() -> None:
    assert from_worker(b'{"type": "teleport", "to": "mars"}') is None
    assert from_worker(b'{"type": "ready", "since": 3}') == Ready()
    assert from_supervisor(b'{"type": "ready"}') is None, "a worker's word, not a supervisor's"


def test_an_empty_line_is_ignored() -> None:
    assert (from_worker(b""), from_supervisor(b"")) == (None, None)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b" ", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 15_000, "not JSON"),
        (b"[]", 'not a JSON object with a "type"'),
        (b'{"type": 3}', 'not a JSON object with a "type"'),
        (b" " * (LINE_BYTES + 1), "a line of more than"),
        (b'{"type": "hello"}', "hello: one of its fields is missing: version"),
        (b'{"type": "hello", "version": true}', "hello: version is not of type int"),
        (b'{"type": "hello", "version": 0}', "hello: found version 0, expected version 1"),
        (
            b'{"type": "hello", "version": 2, "capabilities": {}}',
            "hello: found version 2, expected",
        ),
        (b'{"type": "hello", "version": 1, "capabilities": "close"}', "hello: capabilities is not"),
        (b'{"type": "counts", "open": 1.5}', "counts: open is not of type int"),
        (b'{"type": "counts", "open": 1, "busy": 2}', "counts: found 2 busy of 1 open"),
        (b'{"type": "counts", "open": 1e400}', "counts: open is not of type int"),
    ],
)
def test_a_bad_message_of_a_worker_says_what_is_wrong(data: bytes, told: str) -> None:
    with pytest.raises(Bad, match=told):
        from_worker(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{"type": "close", "code": 1012, "reason": "", "over": 2, "by": 1}',
        b'{"type": "close", "code": 99, "reason": "", "over": 1, "by": 1}',
        b'{"type": "close", "code": 1012, "reason": "", "over": -1, "by": 1}',
        b'{"type": "welcome", "version": 1, "alive_every": 1e300}',
    ],
)
def test_a_bad_message_of_the_supervisor_is_refused(data: bytes) -> None:
    with pytest.raises(Bad):
        from_supervisor(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TYPES = st.sampled_from(["hello", "ready", "alive", "counts", "else"])
KEYS = st.sampled_from(["version", "capabilities", "library", "open", "busy"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(kind=TYPES, rest=st.dictionaries(KEYS, JSON))
def test_whatever_comes_is_understood_or_refused(kind: str, rest: dict[str, object]) -> None:
    data = json.dumps({"type": kind, **rest}).encode()
    try:
        found = from_worker(data)
    except Bad:
        return
    assert found is None or from_worker(line(found)) == found
    if isinstance(found, Counts):
        assert 0 <= found.busy <= found.open <= CONNECTIONS_MAX


@pytest.mark.parametrize(
    "counts", [{"open": 10**4000, "busy": 0}, {"open": 1, "busy": -(10**4000)}]
)
def test_what_is_wrong_with_a_message_is_said_in_few_words(counts: dict[str, int]) -> None:
    with pytest.raises(Bad) as caught:
        from_worker(json.dumps({"type": "counts", **counts}).encode())

    assert len(str(caught.value)) <= BAD_CHARS
