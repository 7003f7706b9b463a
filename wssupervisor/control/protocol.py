"""The control protocol as data: one JSON object a line. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from wssupervisor.errors import ProtocolError

LINE_BYTES = 64 * 1024
"""One line is at most so long, its newline included."""

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    id: int
    method: str
    params: Object


def encode(message: Object) -> bytes:
    """One line. Raises ProtocolError when it would be too long."""
    line = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    if len(line) > LINE_BYTES:
        raise ProtocolError(f"a message of {len(line)} bytes; the limit is {LINE_BYTES}")
    return line


def decode(line: bytes) -> Object:
    """The object on one line. Raises ProtocolError."""
    if len(line) > LINE_BYTES:
        raise ProtocolError(f"a line is longer than {LINE_BYTES} bytes")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a line is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ProtocolError('a line is not an object such as {"id": 1, "method": "status"}')
    return found


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


def event(request: int, value: Object) -> Object:
    return {"id": request, "event": value}


KEEPALIVE: Object = {"keepalive": True}
