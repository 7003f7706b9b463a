"""What a connection takes along besides its socket, as JSON. Pure, no I/O.

A state is read by another release, older or newer: unknown keys are ignored, and a state that
cannot be read leaves its connection with the giver. Bytes stand in base64.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wssupervisor.worker.handoff.deflate import BITS_MAX, BITS_MIN
from wssupervisor.worker.handoff.fields import Fields, Malformed, parse
from wssupervisor.worker.handoff.messages import CONNECTIONS_MAX

CARRIED_BYTES = 64 * 1024
STATES_BYTES = 64 << 20
"""Size of one file of states."""
TEXT_CHARS = 16 * 1024
"""Length of a path, a header or another text of a handshake: libraries allow 8 KiB."""
HEADERS_MAX = 512
ANSWER_BYTES = 64 * 1024
LATENCY_MAX = 1e6

Headers = tuple[tuple[str, str], ...]


class NotCarried(ValueError):
    """What the application carries cannot move. The text is a reason for the operator."""


@dataclass(frozen=True, slots=True)
class Deflate:
    """What was agreed about compression. `window`: None without context takeover of the client."""

    remote_no_context_takeover: bool
    local_no_context_takeover: bool
    remote_max_window_bits: int
    local_max_window_bits: int
    window: bytes | None = None


@dataclass(frozen=True, slots=True)
class WebsocketsState:
    """A connection of the `websockets` library."""

    id: str
    path: str
    request: Headers
    """Headers of the client's request."""
    status: int
    phrase: str
    response: Headers
    """Headers of the answer."""
    carried: Mapping[str, object]
    subprotocol: str | None = None
    origin: str | None = None
    username: str | None = None
    latency: float = 0.0
    """Seconds of the last answered ping."""
    deflate: Deflate | None = None
    unread: bytes = b""


@dataclass(frozen=True, slots=True)
class AsgiState:
    """A WebSocket of an ASGI application, as the new server is asked to accept it again."""

    path: str
    query: str
    headers: Headers
    subprotocols: tuple[str, ...]
    """Those that the client offers again: the agreed one."""
    answer: bytes
    """The head of the answer that the client got, which the new server must repeat."""
    carried: Mapping[str, object]
    windows: tuple[bytes, ...] = field(default=())
    """One for each decompressor of the server that keeps its context."""
    unread: bytes = b""


State = WebsocketsState | AsgiState


def carried_json(carried: Any) -> dict[str, object]:
    """Return what the application carries as the other worker will read it. Raises NotCarried.

    It must be an object of JSON, and equal to itself when it is read: a key that is a number, or a
    tuple, would change on the way.
    """
    try:
        text = json.dumps(carried, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCarried(f"carried is not JSON: {str(error)[:80]}") from None
    if len(text) > CARRIED_BYTES:
        raise NotCarried(f"carried has {len(text)} bytes as JSON, at most {CARRIED_BYTES} can move")
    found = json.loads(text)
    if not isinstance(found, dict) or found != carried:
        raise NotCarried("carried must be a dict with strings for keys, and lists for sequences")
    return found


def encode_states(states: Sequence[State]) -> bytes:
    """Encode the states of one message."""
    return json.dumps([_content(one) for one in states], separators=(",", ":")).encode()


def _content(state: State) -> dict[str, object]:
    unread: dict[str, object] = {"unread": _text(state.unread)} if state.unread else {}
    match state:
        case WebsocketsState():
            found: dict[str, object] = {
                "id": state.id,
                "request": {"path": state.path, "headers": state.request},
                "response": {
                    "status": state.status,
                    "phrase": state.phrase,
                    "headers": state.response,
                },
                "subprotocol": state.subprotocol,
                "origin": state.origin,
                "username": state.username,
                "latency": state.latency,
                "carried": state.carried,
            }
            if state.deflate is not None:
                found["deflate"] = _deflate_content(state.deflate)
            return found | unread
        case AsgiState():
            found = {
                "path": state.path,
                "query": state.query,
                "headers": state.headers,
                "subprotocols": state.subprotocols,
                "answer": _text(state.answer),
                "windows": [{"window": _text(one)} for one in state.windows],
                "carried": state.carried,
            }
            return found | unread


def _deflate_content(deflate: Deflate) -> dict[str, object]:
    found: dict[str, object] = {
        "remote_no_context_takeover": deflate.remote_no_context_takeover,
        "local_no_context_takeover": deflate.local_no_context_takeover,
        "remote_max_window_bits": deflate.remote_max_window_bits,
        "local_max_window_bits": deflate.local_max_window_bits,
    }
    return found if deflate.window is None else found | {"window": _text(deflate.window)}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def state_texts(data: bytes, count: int) -> list[Any]:
    """Open a file of states: one JSON value for each of `count` connections. Raises Malformed."""
    found = parse(data, "states")
    if not isinstance(found, list) or len(found) != count or count > CONNECTIONS_MAX:
        raise Malformed(f"states: expected a list of {count}, as many as the message announced")
    return found


def websockets_state(found: Any, where: str) -> WebsocketsState:
    """Read one state; `where` names it in errors. Raises Malformed."""
    state = Fields(found, where)
    request, response = state.inside("request"), state.inside("response")
    return WebsocketsState(
        id=state.text("id", 100),
        path=request.text("path", TEXT_CHARS),
        request=_headers(request),
        status=response.integer("status", 100, 999),
        phrase=response.text("phrase", TEXT_CHARS),
        response=_headers(response),
        carried=state.mapping("carried"),
        subprotocol=state.text_or_none("subprotocol", TEXT_CHARS),
        origin=state.text_or_none("origin", TEXT_CHARS),
        username=state.text_or_none("username", TEXT_CHARS),
        latency=state.seconds("latency", LATENCY_MAX),
        deflate=_deflate(state.inside("deflate")) if "deflate" in state else None,
        unread=_unread(state),
    )


def asgi_state(found: Any, where: str) -> AsgiState:
    """Read one state; `where` names it in errors. Raises Malformed."""
    state = Fields(found, where)
    windows = state.objects("windows", 2)
    return AsgiState(
        path=state.text("path", TEXT_CHARS),
        query=state.text("query", TEXT_CHARS),
        headers=_headers(state),
        subprotocols=state.texts("subprotocols", HEADERS_MAX, TEXT_CHARS),
        answer=state.binary("answer", ANSWER_BYTES),
        carried=state.mapping("carried"),
        windows=tuple(one.binary("window", 1 << BITS_MAX) for one in windows),
        unread=_unread(state),
    )


def _headers(found: Fields) -> Headers:
    return found.pairs("headers", HEADERS_MAX, TEXT_CHARS)


def _unread(found: Fields) -> bytes:
    return found.binary("unread") if "unread" in found else b""


def _deflate(found: Fields) -> Deflate:
    bits = found.integer("remote_max_window_bits", BITS_MIN, BITS_MAX)
    return Deflate(
        remote_no_context_takeover=found.flag("remote_no_context_takeover"),
        local_no_context_takeover=found.flag("local_no_context_takeover"),
        remote_max_window_bits=bits,
        local_max_window_bits=found.integer("local_max_window_bits", BITS_MIN, BITS_MAX),
        window=found.binary("window", 1 << bits) if "window" in found else None,
    )
