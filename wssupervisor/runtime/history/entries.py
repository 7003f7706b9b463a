"""Reads entries of the history from lines; a line without the needed fields is no entry."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import cast

from wssupervisor import bounded_json
from wssupervisor.control.documents import Event

LINE_BYTES_MAX = 60 << 10
"""Longest entry that fits into a line of the control protocol, with room for its envelope."""
LINE_BYTES_MIN = 40
"""No entry is shorter: each has an instant and a kind."""
NUMBER_MAX = 1 << 53
_AT = re.compile(r"(19[7-9]\d|2\d{3})-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)

NEEDED: Mapping[str, frozenset[str]] = {
    "reload-begun": frozenset({"reload"}),
    "rollback-begun": frozenset({"reload"}),
    "reload-failed": frozenset({"reload", "attempt"}),
    "cutover": frozenset({"reload", "attempt", "generation"}),
    "drain-begun": frozenset({"generation"}),
    "generation-retired": frozenset({"generation"}),
}
"""Fields that the history of reloads needs, by kind."""
NEEDED_WITH_CONNECTIONS = frozenset({"seconds", "forced", "lost"})
"""Fields of a retired generation that had connections."""
TEXTS = frozenset({"reload", "attempt", "reason", "release", "via", "by", "worker"})
COUNTS = frozenset({"generation", "replaced", "connections", "forced", "lost", "by_pid"})


def entry(line: bytes) -> Event | None:
    """The entry on a line of the file, None if it is not one."""
    if len(line) > LINE_BYTES_MAX:
        return None
    try:
        found = bounded_json.parse(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not _is_entry(found):
        return None
    fits = line.isascii() or len(json.dumps(found)) <= LINE_BYTES_MAX
    return cast(Event, found) if fits else None


def _is_entry(found: Mapping[str, object]) -> bool:
    kind = found.get("kind")
    if not isinstance(kind, str) or not _is_instant(found.get("at")):
        return False
    needed = NEEDED.get(kind, frozenset())
    if kind == "generation-retired" and found.get("connections") is not None:
        needed |= NEEDED_WITH_CONNECTIONS
    there = {name for name, value in found.items() if value is not None}
    return there >= needed and all(_is_field(*one) for one in found.items())


def _is_instant(at: object) -> bool:
    """As the history writes it: UTC, in a year that exists in every time zone."""
    if not isinstance(at, str) or not _AT.fullmatch(at):
        return False
    try:
        datetime.fromisoformat(at)
    except ValueError:
        return False
    return True


def _is_field(name: str, value: object) -> bool:
    match value:
        case None:
            return True
        case str():
            return name not in COUNTS and name != "seconds" and _is_text(value)
        case bool():
            return name not in TEXTS | COUNTS and name != "seconds"
        case int() | float():
            if not abs(value) <= NUMBER_MAX or name in TEXTS:  # `not <=`, because of NaN
                return False
            whole = isinstance(value, int) or name not in COUNTS
            return whole and (value >= 0 or name not in COUNTS | {"seconds"})
    return False


def _is_text(value: str) -> bool:
    """Without a lone surrogate, which cannot be encoded."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
