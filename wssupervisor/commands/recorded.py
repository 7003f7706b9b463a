"""What an instance recorded before it ended, read from its files: no daemon is needed.

Under systemd they are in its state directory, elsewhere beside its control socket, where a clean
stop removes them.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wssupervisor.control.paths import OWN, STATE, roots
from wssupervisor.durations import parse_duration
from wssupervisor.errors import NotRunning, UsageError

EVENTS, RELOADS = "events", "reloads"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Two files, `events` and `reloads`, whose names begin and end like this."""

    name: str
    begin: str
    end: str

    def path(self, what: str) -> Path:
        return Path(f"{self.begin}{what}{self.end}")


def find(
    name: str | None, control: str | None, environment: str | None, missing: NotRunning
) -> Place:
    """Of the instance that is meant; raises `missing` if no file can be read."""
    given = control or (None if name else environment)
    found = [one for one in _places(name, given) if os.access(one.path(EVENTS), os.R_OK)]
    names = {one.name for one in found}
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        raise NotRunning(f"{missing}; there are records of {listed}: say which with -i NAME")
    if not found:
        raise missing
    return max(found, key=_written_at)


def _written_at(place: Place) -> float:
    try:
        return place.path(EVENTS).lstat().st_mtime
    except OSError:  # gone meanwhile
        return 0.0


def announce(place: Place) -> None:
    """On standard error, so that what follows can be read by a script."""
    print(
        f"wssctl: instance {place.name!r} is not running; from its record {place.path(EVENTS)}:",
        file=sys.stderr,
    )


def events(place: Place, since: str | None) -> list[Document]:
    """Oldest first. Raises UsageError."""
    from wssupervisor.runtime.history.history import KEPT  # noqa: PLC0415 - a daemon is asked without it

    return list(_recent(_read(place.path(EVENTS), KEPT), since))


def reloads(place: Place, since: str | None) -> list[Document]:
    """Oldest first, each with all that is known of it. Raises UsageError."""
    from wssupervisor.runtime.history.history import RELOAD_ENTRIES_KEPT  # noqa: PLC0415 - as above
    from wssupervisor.runtime.history.reloads import reloads as put_together  # noqa: PLC0415

    entries = _read(place.path(RELOADS), RELOAD_ENTRIES_KEPT)
    return list(_recent(put_together(entries), since))


def _places(name: str | None, control: str | None) -> Iterator[Place]:
    if control is not None:
        yield Place(Path(control).parent.name, f"{control}.", "")
        if Path(control).parent.parent in roots():
            yield _in_state(Path(control).parent.name)
        return
    for root in roots():
        for own in _names(root) if name is None else [name]:
            yield Place(own, str(root / own / "control.sock."), "")
    for own in _names(STATE) if name is None else [name]:
        yield _in_state(own)


def _in_state(name: str) -> Place:
    return Place(name, f"{STATE / name / OWN}/", ".jsonl")


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208
    except OSError:
        return []


def _read(path: Path, most: int) -> list[Document]:
    from wssupervisor.runtime.history.file import read_record  # noqa: PLC0415 - as above

    return read_record(path, most)


def _recent(entries: list[Document], since: str | None) -> Iterator[Document]:
    from wssupervisor.runtime.history.history import seconds_ago  # noqa: PLC0415 - as above

    try:
        seconds = None if since is None else parse_duration(since)
    except ValueError as error:
        raise UsageError(f"--since {since!r}: {error}") from None
    for one in entries:
        if seconds is None or seconds_ago(one) <= seconds:
            yield one
