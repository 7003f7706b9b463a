"""The control protocol as data: one JSON object a line. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wssupervisor.bounded import bounded
from wssupervisor.errors import ProtocolError

LINE_BYTES = 64 * 1024
"""One line is at most so long, its newline included."""
OUTPUT_BYTES = 48 * 1024
"""What a worker's last lines may take of an error's line; the rest is for the reason."""
PART_LENGTH = 24 * 1024
"""Characters of a part: ASCII, of which a line's own quoting can double each."""
ANSWER_CHARS = 16 << 20
"""Of an answer in parts, joined: a reader needs to hold no more."""
VALUES_MAX = 1_000_000
"""In one answer: an empty list takes three characters, and thirty times as much memory."""
EVENT_TEXT_CHARS = (4000, 500, 50)
"""What is left of each text of an event that is too long for its line, tried one by one."""
LEFT_OUT = "[earlier lines left out]"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    id: int
    method: str
    params: Object


def encode(message: Object) -> bytes:
    """One line. Raises ProtocolError when it would be too long."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    # A file name that is not UTF-8 has lone surrogates; escaped like this they are JSON again.
    line = text.encode(errors="backslashreplace") + b"\n"
    if len(line) > LINE_BYTES:
        raise ProtocolError(f"a message of {len(line)} bytes; the limit is {LINE_BYTES}")
    return line


def encode_answer(message: Object) -> list[bytes]:
    """The lines of an answer: one, or where that would be too long, its text in parts.

    A part is `{"id": 1, "part": "..."}`; the last one has `"last": true` as well. The parts' text
    joined is the line that was too long. Where no reader would take that, an error says so.
    """
    try:
        return [encode(message)]
    except ProtocolError:
        text = json.dumps(message)
    if _too_large(text):
        reason = f"the answer has {len(text)} characters: too many; ask for less, as with --since"
        return [encode(failure(message["id"], ProtocolError.code, reason))]
    pieces = [text[at : at + PART_LENGTH] for at in range(0, len(text), PART_LENGTH)]
    parts: list[Object] = [{"id": message["id"], "part": piece} for piece in pieces]
    parts[-1]["last"] = True
    return [encode(part) for part in parts]


def encode_event(request: int, value: Object) -> bytes:
    """The line of an event; texts of one that is too long for a line are cut."""
    for most in (None, *EVENT_TEXT_CHARS):
        try:
            return encode(event(request, value if most is None else _cut(value, most)))
        except ProtocolError:
            continue
    return encode(event(request, {}))


def _cut(value: Any, most: int) -> Any:
    """With texts, and lists, of at most so many characters, or items."""
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
    """The object on one line. Raises ProtocolError."""
    if len(line) > LINE_BYTES:
        raise ProtocolError(f"a line is longer than {LINE_BYTES} bytes")
    return decode_answer(line)


def decode_answer(text: bytes | str) -> Object:
    """The object that a line is, or the parts of one joined. Raises ProtocolError."""
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
    """What would take too much memory, judged before it does."""
    if len(text) > ANSWER_CHARS:
        return True
    if isinstance(text, bytes):
        return text.count(b",") + text.count(b"[") + text.count(b"{") > VALUES_MAX
    return text.count(",") + text.count("[") + text.count("{") > VALUES_MAX


def parse_request(line: bytes) -> Request:
    """What a client asks. Raises ProtocolError."""
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
    """The newest of a worker's lines that an error has room for: the end tells most."""
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
