"""What a worker and its supervisor say to each other over the channel: pure, no I/O.

One message is one datagram of a SOCK_SEQPACKET socket: a JSON object with a `type`. The worker
begins with `hello`. A type that is not known is ignored, so that either side may be newer; one that
is known and is not right is an error, and the channel is closed: the worker is then treated as one
without it.
"""

import json
from dataclasses import asdict, dataclass, fields
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_type_hints

VERSION = 1
MESSAGE_BYTES = 16 * 1024
REASON_BYTES = 120
"""What fits into a WebSocket's close frame, with room to spare."""
CONNECTIONS_MAX = 10_000_000
SECONDS_MAX = 1e9
BAD_CHARS = 120
"""Of the text that says what is wrong with a message."""


class Bad(ValueError):
    """A message that breaks the protocol; the text says how, and is short whatever was in it."""

    def __init__(self, text: str) -> None:
        super().__init__(text if len(text) <= BAD_CHARS else f"{text[: BAD_CHARS - 3]}...")


class Capability(Enum):
    """What a worker can be asked for; those of a newer library are ignored."""

    CLOSE = "close"
    """Closes its connections when asked, spread over a time."""
    STOP_ACCEPTING = "stop-accepting"
    """Lets its listening sockets go when told to drain, without losing a connection."""
    HANDOFF = "handoff"
    """Reserved."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first word of a worker. `library`: its name and version, for people."""

    version: int
    capabilities: tuple[str, ...] = ()
    library: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """It serves."""


@dataclass(frozen=True, slots=True)
class Alive:
    """Its event loop runs."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Connections by its own account; `busy`: those that do not want to be closed now."""

    open: int
    busy: int = 0


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to `hello`. `alive_every`: seconds between two signs of life; 0: none wanted."""

    version: int
    alive_every: float = 0.0


@dataclass(frozen=True, slots=True)
class Drain:
    """It gets no new connections from now on, once it has let the sockets of `let_go` go.

    Those are listeners by name. Said again: close nothing more that you were asked to close.
    """

    let_go: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resume:
    """It gets new connections again, as if it had never drained; what was asked for is void."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close all connections, spread over `over` seconds; the busy ones by `by` seconds from now.

    Not `everyone`: only those that are there now, and none that is busy at its turn.
    """

    code: int
    reason: str
    over: float
    by: float
    everyone: bool = True


@dataclass(frozen=True, slots=True)
class Stay:
    """Close nothing more that you were asked to close."""


FromWorker = Hello | Ready | Alive | Counts
FromSupervisor = Welcome | Drain | Resume | Close | Stay

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
}


def encode(message: FromWorker | FromSupervisor) -> bytes:
    """As one datagram."""
    return json.dumps({"type": _TYPES[type(message)], **asdict(message)}).encode()


def from_worker(data: bytes) -> FromWorker | None:
    """What a worker said; None for a type that is not known. Raises Bad."""
    found: FromWorker | None = _decoded(data, FromWorker)
    match found:
        case Hello(version=version) if version < 1:
            raise Bad(f"hello: version {version} does not exist")
        case Counts(open=count, busy=busy) if not 0 <= busy <= count <= CONNECTIONS_MAX:
            raise Bad(f"counts: {busy} busy of {count} open cannot be")
    return found


def from_supervisor(data: bytes) -> FromSupervisor | None:
    """What the supervisor said; None for a type that is not known. Raises Bad."""
    found: FromSupervisor | None = _decoded(data, FromSupervisor)
    match found:
        case Close(over=over, by=by) if not 0 <= over <= by <= SECONDS_MAX:
            raise Bad(f"close: over {over:g} s by {by:g} s cannot be")
        case Close(code=code) if not 1000 <= code <= 4999:
            raise Bad(f"close: {code} is no close code")
        case Welcome(alive_every=seconds) if not 0 <= seconds <= SECONDS_MAX:
            raise Bad(f"welcome: alive_every {seconds:g} cannot be")
    return found


def _decoded(data: bytes, kinds: UnionType) -> Any:
    if len(data) > MESSAGE_BYTES:
        raise Bad(f"a message of more than {MESSAGE_BYTES} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Bad(f"not JSON: {str(error)[:60]}") from None
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise Bad('not a JSON object with a "type"')
    kind = next((one for one in get_args(kinds) if _TYPES[one] == found["type"]), None)
    return None if kind is None else _built(kind, found)


def _built(kind: type[Any], found: dict[str, Any]) -> Any:
    """Keys that are not known are ignored; those that are known must be right."""
    name, hints = _TYPES[kind], get_type_hints(kind)
    values = {}
    for one in fields(kind):
        if one.name in found:
            values[one.name] = _typed(f"{name}: {one.name}", found[one.name], hints[one.name])
    try:
        return kind(**values)
    except TypeError:
        needed = ", ".join(one.name for one in fields(kind))
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
