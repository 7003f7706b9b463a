"""Commands in hints, with the options that choose the instance, so that they work as copied."""

import re
from pathlib import Path

from wssupervisor.control.paths import SOCKET, roots
from wssupervisor.control.verbs import VERBS

_ASKING = "|".join(row.name for row in VERBS.values() if row.help and row.right is not None)
_COMMAND = re.compile(rf"\bwssctl (?=(?:{_ASKING})\b)")
"""The beginning of a command that needs to know the instance."""


def options(path: str) -> str:
    """Return the options of wssctl that choose the instance with this control socket."""
    place = Path(path)
    if place.name == SOCKET and place.parent.parent in roots():
        return named(place.parent.name)
    return f"--control {word(path)}"


def named(instance: str) -> str:
    return f"-i {word(instance)}"


def word(text: str) -> str:
    """Quote a name or a path for a command to paste into a shell."""
    from shlex import quote  # noqa: PLC0415 - only for advice

    return quote(text)


def addressed(text: str, chosen: str) -> str:
    """Put the options into each command of the text. `chosen`: "" if only one instance runs."""
    return _COMMAND.sub(lambda found: f"{found[0]}{chosen} ", text) if chosen else text
