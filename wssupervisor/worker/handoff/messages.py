"""The messages between the worker that gives connections and the worker that takes them.

    taker: {"type": "hello", "version": 1, "kind": "websockets", "room": 14000}
    giver: {"type": "batch", "id": 7, "count": 32, "more": false} with 2 + 32 descriptors
    taker: {"type": "refused", "id": 7, "which": {"3": "why"}}      or, for the whole batch, "why"
    taker: {"type": "taken", "id": 7}
    giver: {"type": "done"}

Each message is one datagram of a SOCK_SEQPACKET pair: a JSON object. An unknown type and an unknown
key are ignored; a known type with a wrong content, an unknown version and an unknown kind are
errors. docs/internals/handoff.md has the order of messages. Pure, no I/O.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from wssupervisor.worker.handoff.fields import Fields, Malformed, parse, shown

VERSION = 1
MESSAGE_BYTES = 32 * 1024
CONNECTIONS_MAX = 100
"""Connections in one message. A larger batch has several messages."""
BATCH_MAX = 100_000
"""Connections in one batch."""
ID_MAX = 2**53
ROOM_MAX = 10_000_000
REASON_CHARS = 100
BESIDE = 2
"""Descriptors before those of the connections: the claim, and the file of their states."""


class Kind(Enum):
    """What a state describes. A connection only moves between workers of one kind."""

    WEBSOCKETS = "websockets"
    """A connection of the `websockets` library."""
    ASGI = "asgi"
    """A WebSocket of an ASGI application."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of the taker. `room`: descriptors it can still open, less a reserve."""

    kind: Kind
    room: int
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Batch:
    """Connections, each with its descriptor. `more`: the next message continues the same batch."""

    id: int
    count: int
    more: bool = False

    @property
    def descriptors(self) -> int:
        """How many come with the message: the claim, the states, and one for each connection."""
        return BESIDE + self.count


@dataclass(frozen=True, slots=True)
class Refused:
    """Connections that the taker leaves to the giver, sent before it claims the batch.

    `which`: position in the batch -> reason. Without it the taker leaves the whole batch, for the
    reason `why`, and does not claim it.
    """

    id: int
    which: Mapping[int, str] = field(default_factory=dict)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """The taker has claimed the batch. It decides nothing: the claim does."""

    id: int


@dataclass(frozen=True, slots=True)
class Done:
    """The giver sends no further batch."""


FromTaker = Hello | Refused | Taken
FromGiver = Batch | Done


def refusals(batch: int, which: Mapping[int, str]) -> Iterator[Refused]:
    """Yield messages that refuse these connections, each small enough to be sent."""
    positions = list(which)
    for at in range(0, len(positions), CONNECTIONS_MAX):
        part = positions[at : at + CONNECTIONS_MAX]
        yield Refused(batch, {one: which[one] for one in part})


def encode(message: FromTaker | FromGiver) -> bytes:
    """Encode a message as one datagram. Reasons are cut to REASON_CHARS of printable ASCII."""
    return json.dumps(_content(message)).encode()


def _content(message: FromTaker | FromGiver) -> dict[str, object]:
    match message:
        case Hello(kind=kind, room=room, version=version):
            return {"type": "hello", "version": version, "kind": kind.value, "room": room}
        case Batch(id=number, count=count, more=more):
            return {"type": "batch", "id": number, "count": count, "more": more}
        case Refused(id=number, which=which) if which:
            reasons = {str(at): _reason(why) for at, why in which.items()}
            return {"type": "refused", "id": number, "which": reasons}
        case Refused(id=number, why=why):
            return {"type": "refused", "id": number, "why": _reason(why)}
        case Taken(id=number):
            return {"type": "taken", "id": number}
        case Done():
            return {"type": "done"}


def _reason(text: str) -> str:
    """Return a reason that fits: 100 of them are at most 21 KiB as JSON."""
    plain = "".join(one if " " <= one <= "~" else "?" for one in text[:REASON_CHARS])
    return plain or "no reason given"


def from_taker(data: bytes) -> FromTaker | None:
    """Decode a message of the taker. None for an unknown type. Raises Malformed."""
    found, kind = _opened(data)
    match kind:
        case "hello":
            version = found.integer("version", VERSION, VERSION)
            return Hello(_kind(found), found.integer("room", 0, ROOM_MAX), version)
        case "refused":
            return _refused(found)
        case "taken":
            return Taken(_id(found))
    return None


def from_giver(data: bytes) -> FromGiver | None:
    """Decode a message of the giver. None for an unknown type. Raises Malformed."""
    found, kind = _opened(data)
    match kind:
        case "batch":
            count = found.integer("count", 1, CONNECTIONS_MAX)
            return Batch(_id(found), count, found.flag("more"))
        case "done":
            return Done()
    return None


def _opened(data: bytes) -> tuple[Fields, str]:
    if len(data) > MESSAGE_BYTES:
        raise Malformed(f"message: found {len(data)} bytes, expected at most {MESSAGE_BYTES}")
    found = parse(data, "message")
    kind = Fields(found, "message").text("type", REASON_CHARS)
    return Fields(found, kind), kind


def _id(found: Fields) -> int:
    return found.integer("id", 0, ID_MAX)


def _kind(found: Fields) -> Kind:
    try:
        return Kind(found.text("kind", REASON_CHARS))
    except ValueError:
        raise found.wrong("kind", " or ".join(one.value for one in Kind)) from None


def _refused(found: Fields) -> Refused:
    if "which" not in found:
        return Refused(_id(found), why=found.text("why", REASON_CHARS))
    reasons = found.inside("which")
    which: dict[int, str] = {}
    for key in found.mapping("which"):
        if not (key.isascii() and key.isdecimal() and len(key) <= len(str(BATCH_MAX))):
            raise Malformed(
                f"{reasons.where}: found the key {shown(key)}, expected positions from 0 to"
                f" {BATCH_MAX - 1}"
            )
        which[int(key)] = reasons.text(key, REASON_CHARS)
    if not which or len(which) > CONNECTIONS_MAX or max(which) >= BATCH_MAX:
        raise found.wrong("which", f"1 to {CONNECTIONS_MAX} positions below {BATCH_MAX}")
    return Refused(_id(found), which)
