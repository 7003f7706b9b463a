"""The messages between a worker and its supervisor on the channel. Pure, no I/O.

The channel is a SOCK_STREAM socket. One message is one line: a JSON object with a `type`. The
worker begins with `hello`. An unknown type is ignored, so that either side may be newer. If a
worker sends a known type with a wrong content, the supervisor refuses: it sends the reason, closes
the channel, and treats the worker as one without it. docs/reference/protocol.md has the details.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_type_hints

from wssupervisor.worker.lines import LINE_BYTES

VERSION = 1
REASON_BYTES = 120
"""Fits into the close frame of a WebSocket, with room to spare."""
CONNECTIONS_MAX = 10_000_000
SECONDS_MAX = 1e9
BAD_CHARS = 120
"""Length of the text that describes a bad message."""


class Bad(ValueError):
    """A message that breaks the protocol. The text describes it, and is short in any case."""

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= BAD_CHARS else f"{text[: BAD_CHARS - 3]}...")


class Capability(Enum):
    """What a worker can be asked to do. Unknown capabilities of a newer library are ignored."""

    CLOSE = "close"
    """Closes its connections on request, spread over a time."""
    STOP_ACCEPTING = "stop-accepting"
    """Releases its listening sockets when it has to drain, without losing a connection."""
    HANDOFF = "handoff"
    """Reserved."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of a worker. `library`: name and version of the library, for display."""

    version: int
    capabilities: tuple[str, ...] = ()
    library: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker is ready to serve."""


@dataclass(frozen=True, slots=True)
class Alive:
    """A heartbeat: the event loop of the worker is running."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Connections as the worker counts them. `busy`: those that should not be closed now."""

    open: int
    busy: int = 0


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to `hello`. `alive_every`: seconds between two heartbeats; 0: none expected."""

    version: int
    alive_every: float = 0.0


@dataclass(frozen=True, slots=True)
class Drain:
    """The worker gets no new connections, once it has released the sockets of these listeners.

    `release_sockets` has names of listeners. A repeated `drain` cancels an earlier `close`.
    """

    release_sockets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resume:
    """The worker gets new connections again, as before the drain. Cancels an earlier `close`."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close all connections, spread over `over` seconds; the busy ones by `by` seconds from now.

    Without `everyone`: only connections that are open now, and none that is busy at its turn.
    """

    code: int
    reason: str
    over: float
    by: float
    everyone: bool = True


@dataclass(frozen=True, slots=True)
class Stay:
    """Cancels an earlier `close`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The supervisor closes the channel for this reason. The worker keeps serving."""

    reason: str


FromWorker = Hello | Ready | Alive | Counts
FromSupervisor = Welcome | Drain | Resume | Close | Stay | Refused

_TYPES: dict[type[Any], str] = {
    Hello: "hello",
    Ready: "ready",
    Alive: "alive",
    Counts: "counts",
    Welcome: "welcome",
    Drain: "drain",
    Resume: "resume",
    Close: "close",
    Stay: "stay",
    Refused: "refused",
}


def encode(message: FromWorker | FromSupervisor) -> bytes:
    """Encode a message as one line, with its newline."""
    return json.dumps({"type": _TYPES[type(message)], **asdict(message)}).encode() + b"\n"


def from_worker(data: bytes) -> FromWorker | None:
    """Decode a line of a worker. None for an empty line or an unknown type. Raises Bad."""
    found: FromWorker | None = _decoded(data, FromWorker)
    match found:
        case Counts(open=count, busy=busy) if not 0 <= busy <= count <= CONNECTIONS_MAX:
            raise Bad(f"counts: found {busy} busy of {count} open, expected 0 <= busy <= open")
    return found


def from_supervisor(data: bytes) -> FromSupervisor | None:
    """Decode a line of the supervisor. None for an empty line or an unknown type. Raises Bad."""
    found: FromSupervisor | None = _decoded(data, FromSupervisor)
    match found:
        case Close(over=over, by=by) if not 0 <= over <= by <= SECONDS_MAX:
            raise Bad(f"close: found {over:g} s before {by:g} s, expected 0 <= over <= by")
        case Close(code=code) if not 1000 <= code <= 4999:
            raise Bad(f"close: found code {code}, expected 1000 to 4999")
        case Welcome(alive_every=seconds) if not 0 <= seconds <= SECONDS_MAX:
            raise Bad(f"welcome: found alive_every {seconds:g}, expected 0 or more")
    return found


def _decoded(data: bytes, kinds: UnionType) -> Any:
    if not data:
        return None
    if len(data) > LINE_BYTES:
        raise Bad(f"a line of more than {LINE_BYTES} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Bad(f"not JSON: {str(error)[:60]}") from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise Bad('not a JSON object with a "type"')
    kind = next((one for one in get_args(kinds) if _TYPES[one] == found["type"]), None)
    return None if kind is None else _built(kind, found)


def _built(kind: type[Any], found: Mapping[str, object]) -> Any:
    """Build a message. Unknown keys are ignored; known keys must have the right type."""
    name, hints = _TYPES[kind], get_type_hints(kind)
    values = {}
    for field in fields(kind):
        if field.name in found:
            values[field.name] = _typed(
                f"{name}: {field.name}", found[field.name], hints[field.name]
            )
        if values.get("version", VERSION) != VERSION:  # then the other fields may differ as well
            raise Bad(f"{name}: found version {values['version']}, expected version {VERSION}")
    try:
        return kind(**values)
    except TypeError:
        needed = ", ".join(field.name for field in fields(kind))
        raise Bad(f"{name}: one of its fields is missing: {needed}") from None


def _typed(where: str, value: Any, kind: Any) -> Any:
    if kind == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise Bad(f"{where} is not a list of strings")
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= SECONDS_MAX else value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Bad(f"{where} is not of type {kind.__name__}")
    return value
