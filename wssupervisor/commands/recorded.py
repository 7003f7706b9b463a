"""The record of an instance that does not run, read from its files without a daemon.

Under systemd they are in the state directory of the instance. Otherwise they are beside its control
socket, and a clean stop removes them.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from wssupervisor.control.documents import Event, PastReload
from wssupervisor.control.paths import OWN, STATE, roots
from wssupervisor.durations import parse_duration
from wssupervisor.errors import NotRunning, UsageError

EVENTS, RELOADS = "events", "reloads"

Recorded = TypeVar("Recorded", Event, PastReload)


@dataclass(frozen=True, slots=True)
class Place:
    """Two files, `events` and `reloads`, with the same beginning and end of their paths."""

    name: str
    begin: str
    end: str

    def path(self, what: str) -> Path:
        return Path(f"{self.begin}{what}{self.end}")


def find(
    name: str | None, control: str | None, environment: str | None, missing: NotRunning
) -> Place:
    """The record of one instance. Raises `missing` if no file can be read."""
    given = control or (None if name else environment)
    found = [one for one in _places(name, given) if os.access(one.path(EVENTS), os.R_OK)]
    names = {one.name for one in found}
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        raise NotRunning(f"{missing}. There are records of {listed}: choose one with -i NAME")
    if not found:
        raise missing
    return max(found, key=_written_at)


def _written_at(place: Place) -> float:
    try:
        return place.path(EVENTS).lstat().st_mtime
    except OSError:  # removed by now
        return 0.0


def announce(place: Place) -> None:
    """On standard error, so that scripts can read standard output."""
    print(
        f"wssctl: instance {place.name!r} is not running; reading its record {place.path(EVENTS)}",
        file=sys.stderr,
    )


def events(place: Place, since: str | None) -> list[Event]:
    """Oldest first. Raises UsageError."""
    from wssupervisor.runtime.history.history import KEPT  # noqa: PLC0415 - not needed to ask a daemon

    return list(_recent(_read(place.path(EVENTS), KEPT), since))


def reloads(place: Place, since: str | None) -> list[PastReload]:
    """Oldest first. Raises UsageError."""
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


def _read(path: Path, most: int) -> list[Event]:
    from wssupervisor.runtime.history.file import read_record  # noqa: PLC0415 - as above

    return read_record(path, most)


def _recent(entries: list[Recorded], since: str | None) -> Iterator[Recorded]:
    from wssupervisor.runtime.history.history import seconds_ago  # noqa: PLC0415 - as above

    try:
        seconds = None if since is None else parse_duration(since)
    except ValueError as error:
        raise UsageError(f"--since {since!r}: {error}") from None
    for one in entries:
        if seconds is None or seconds_ago(one) <= seconds:
            yield one
