"""The lines of the control protocol."""

import pytest

from wssupervisor.control import protocol
from wssupervisor.errors import ProtocolError


def test_a_request_is_read() -> None:
    line = b'{"id": 3, "method": "drain", "params": {"generation": 4}}\n'

    assert protocol.parse_request(line) == protocol.Request(3, "drain", {"generation": 4})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"nonsense\n", "not JSON"),
        (b"[1]\n", "not an object"),
        (b"{}\n", "whole number as its id"),
        (b'{"id": true, "method": "x"}\n', "whole number as its id"),
        (b'{"id": 1}\n', "needs a method"),
        (b'{"id": 1, "method": "x", "params": []}\n', "params must be an object"),
        (b"\xff\xfe\n", "not JSON"),
        (b'"' + b"x" * protocol.LINE_BYTES + b'"\n', "longer than 65536"),
        (b"[" * 60000 + b"\n", "not JSON"),
    ],
)
def test_a_bad_line_is_refused_with_the_reason(line: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        protocol.parse_request(line)


def test_a_message_that_would_be_too_long_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="limit"):
        protocol.encode({"x": "y" * protocol.LINE_BYTES})


def test_what_is_encoded_is_one_line() -> None:
    line = protocol.encode(protocol.result(1, {"text": "two\nlines"}))

    assert line.count(b"\n") == 1
    assert protocol.decode(line) == {"id": 1, "result": {"text": "two\nlines"}}


@pytest.mark.parametrize("text", ["x", "\udcff", "\x01", "\U0001f600", '"', "\n"])
def test_an_event_that_is_too_long_is_cut_whatever_it_is_made_of(text: str) -> None:
    value = {"note": {"at": "now", "kind": "x", "reason": text * 100_000, "release": text * 9000}}
    found = protocol.decode(protocol.encode_event(1, value))["event"]["note"]

    assert (found["at"], found["kind"]) == ("now", "x")
    assert found["reason"].endswith("characters left out]")


def test_an_event_of_too_many_things_is_cut() -> None:
    value = {"note": {"kind": "x", "list": [[n] * 100 for n in range(9000)]}}
    found = protocol.decode(protocol.encode_event(1, value))["event"]["note"]

    assert found["kind"] == "x"
    assert 0 < len(found["list"]) < 9000


@pytest.mark.parametrize(
    "rows", [["x" * 1000] * (protocol.ANSWER_CHARS // 1000), [[]] * (protocol.VALUES_MAX + 1)]
)
def test_an_answer_that_no_reader_takes_is_an_error(rows: list[object]) -> None:
    (line,) = protocol.encode_answer(protocol.result(3, {"rows": rows}))
    found = protocol.decode(line)

    assert found["error"]["code"] == "protocol-error"
    assert "Request less" in found["error"]["message"]


def test_an_answer_of_too_many_values_is_not_read() -> None:
    with pytest.raises(ProtocolError, match="too large"):
        protocol.decode_answer('{"a": [' + "[]," * protocol.VALUES_MAX + "[]]}")
