"""The control protocol as data: one JSON object per line. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wssupervisor.bounded import bounded
from wssupervisor.errors import ProtocolError

LINE_BYTES = 64 * 1024
"""The maximum length of a line, newline included."""
OUTPUT_BYTES = 48 * 1024
"""The share of a worker's last lines in the line of an error. The rest is for the reason."""
PART_LENGTH = 24 * 1024
"""Characters of a part: ASCII. Quoting can double each of them."""
ANSWER_CHARS = 16 << 20
"""The maximum length of an answer, all parts joined."""
VALUES_MAX = 1_000_000
"""Values in one answer: an empty list is three characters, but thirty times as much memory."""
EVENT_TEXT_CHARS = (4000, 500, 50)
"""Limits for the texts of an event that is too long for a line, tried in this order."""
LEFT_OUT = "[earlier lines left out]"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    id: int
    method: str
    params: Object


def encode(message: Object) -> bytes:
    """Encode a message as one line. Raises ProtocolError if it would be too long."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    # A file name that is not UTF-8 has lone surrogates. Escaped like this, they are valid JSON.
    line = text.encode(errors="backslashreplace") + b"\n"
    if len(line) > LINE_BYTES:
        raise ProtocolError(f"a message of {len(line)} bytes; the limit is {LINE_BYTES}")
    return line


def encode_answer(message: Object) -> list[bytes]:
    """Encode an answer as one line, or in parts if that line would be too long.

    A part is `{"id": 1, "part": "..."}`; the last part also has `"last": true`. The texts of the
    parts, joined, are the line that was too long. An answer that no reader would accept becomes an
    error.
    """
    try:
        return [encode(message)]
    except ProtocolError:
        text = json.dumps(message)
    if _too_large(text):
        reason = f"the answer is too long ({len(text)} characters). Request less, as with --since"
        return [encode(failure(message["id"], ProtocolError.code, reason))]
    pieces = [text[at : at + PART_LENGTH] for at in range(0, len(text), PART_LENGTH)]
    parts: list[Object] = [{"id": message["id"], "part": piece} for piece in pieces]
    parts[-1]["last"] = True
    return [encode(part) for part in parts]


def encode_event(request: int, value: Object) -> bytes:
    """Encode an event as one line. Texts of an event that is too long are cut."""
    for most in (None, *EVENT_TEXT_CHARS):
        try:
            return encode(event(request, value if most is None else _cut(value, most)))
        except ProtocolError:
            continue
    return encode(event(request, {}))


def _cut(value: Any, most: int) -> Any:
    """Cut texts to `most` characters, and lists to `most` items."""
    match value:
        case str():
            return bounded(value, most)
        case list():
            return [_cut(one, most) for one in value[:most]]
        case dict():
            return {name[:most]: _cut(one, most) for name, one in list(value.items())[:most]}
        case _:
            return value


def decode(line: bytes) -> Object:
    """Decode the object on one line. Raises ProtocolError."""
    if len(line) > LINE_BYTES:
        raise ProtocolError(f"a line is longer than {LINE_BYTES} bytes")
    return decode_answer(line)


def decode_answer(text: bytes | str) -> Object:
    """Decode a line, or the joined parts of an answer. Raises ProtocolError."""
    if _too_large(text):
        raise ProtocolError(f"an answer of {len(text)} characters is too large")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a line is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ProtocolError('a line is not an object such as {"id": 1, "method": "status"}')
    return found


def _too_large(text: bytes | str) -> bool:
    """Whether decoding would take too much memory, judged beforehand."""
    if len(text) > ANSWER_CHARS:
        return True
    if isinstance(text, bytes):
        return text.count(b",") + text.count(b"[") + text.count(b"{") > VALUES_MAX
    return text.count(",") + text.count("[") + text.count("{") > VALUES_MAX


def parse_request(line: bytes) -> Request:
    """Parse the request of a client. Raises ProtocolError."""
    found = decode(line)
    number, method, params = found.get("id"), found.get("method"), found.get("params", {})
    if isinstance(number, bool) or not isinstance(number, int):
        raise ProtocolError("a request needs a whole number as its id")
    if not isinstance(method, str):
        raise ProtocolError('a request needs a method, such as "status"')
    if not isinstance(params, dict):
        raise ProtocolError("params must be an object")
    return Request(number, method, params)


def result(request: int, value: Object) -> Object:
    return {"id": request, "result": value}


def failure(request: int | None, code: str, message: str, data: Object | None = None) -> Object:
    return {"id": request, "error": {"code": code, "message": message, "data": data or {}}}


def fitting(lines: Sequence[str]) -> list[str]:
    """Return as many of a worker's last lines as fit into an error: the end is most useful."""
    chosen: list[str] = []
    room = OUTPUT_BYTES
    for line in reversed(lines):
        text = json.dumps(line, ensure_ascii=False)
        room -= len(text.encode(errors="backslashreplace")) + 1
        if room < 0:
            chosen.append(LEFT_OUT)
            break
        chosen.append(line)
    return chosen[::-1]


def event(request: int, value: Object) -> Object:
    return {"id": request, "event": value}


KEEPALIVE: Object = {"keepalive": True}
