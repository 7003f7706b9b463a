"""The history of events: kept for `wssctl events` and `wssctl history`, and sent to followers."""

import contextlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import cast

import structlog

from wssupervisor.bounded import bounded_fields
from wssupervisor.control.documents import Event, PastReload
from wssupervisor.control.paths import OWN
from wssupervisor.control.protocol import Object
from wssupervisor.fleet.notes import Note
from wssupervisor.runtime.clock import wall
from wssupervisor.runtime.history import reloads
from wssupervisor.runtime.history.file import HistoryFile
from wssupervisor.runtime.history.slow_writes import SlowWrites

log = structlog.get_logger()

FLUSH_SECONDS = 0.5
"""Limit of an upgrade or a stop for entries that are still to be written."""

KEPT = 1000
"""Entries kept in memory; older ones are in the file and in the log."""
FILE_BYTES = 1 << 20
"""Size of each of two files: several thousand entries."""
RELOAD_ENTRIES_KEPT = 2000
"""Kept separately, because a worker that crashes for a day would displace all reloads. A reload has
about four entries."""
RELOADS_FILE_BYTES = 1 << 19

Follower = Callable[[Event], None]


def seconds_ago(entry: Event | PastReload) -> float:
    """By the wall clock, because an entry may be of another boot. Infinity without an instant."""
    try:
        return time.time() - datetime.fromisoformat(entry["at"]).timestamp()
    except (ValueError, OverflowError):
        return float("inf")


@dataclass(frozen=True, slots=True)
class HistoryState:
    """Entries with their monotonic instants: those that the next program does not find in files."""

    entries: tuple[tuple[float, Object], ...] = ()


class History:
    """In memory, and in files: in systemd's StateDirectory=, to stay.

    Without that directory their paths begin with `beside`, and a clean stop removes them.
    """

    def __init__(self, beside: str, saved: HistoryState | None = None) -> None:
        """Read the files, and add the entries that only the previous program had in memory."""
        state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        self._outlives_us = bool(state)

        def file(name: str, size: int) -> HistoryFile:
            if state:
                path = str(Path(state, OWN, f"{name}.jsonl"))
                return HistoryFile(path, size, makes_directory=True)
            return HistoryFile(f"{beside}.{name}", size, makes_directory=False)

        self._all = _Kept("events", KEPT, file("events", FILE_BYTES))
        self._reloads = _Kept(
            "reloads", RELOAD_ENTRIES_KEPT, file("reloads", RELOADS_FILE_BYTES), reloads.KINDS
        )
        self._followers: set[Follower] = set()
        if saved is not None:
            found = [cast(Event, entry) for _, entry in saved.entries]
            self._all.add_missing(found)
            self._reloads.add_missing(found)

    def add(self, note: Note, extra: Mapping[str, float]) -> None:
        """Keep a note and pass it to followers; `extra`: fields that only the runtime knows."""
        fields = {**bounded_fields(note.fields), **extra}
        entry = cast(Event, {"at": wall(time.monotonic()), "kind": note.kind.value, **fields})
        self._all.add(entry)
        self._reloads.add(entry)
        for follower in list(self._followers):
            try:
                follower(entry)
            except Exception:  # a follower must not end the step
                log.exception("cannot pass an event on", kind=entry["kind"])

    def save(self) -> HistoryState:
        """Waits up to FLUSH_SECONDS for entries that are still to be written to the files."""
        if self._all.is_in_file() and self._reloads.is_in_file():
            return HistoryState()
        now = time.monotonic()
        entries = [*self._reloads.entries, *self._all.entries]
        return HistoryState(
            tuple((now - seconds_ago(entry), cast(Object, entry)) for entry in entries)
        )

    def since(self, seconds: float | None, last: int | None = None) -> list[Event]:
        """The entries of the last `seconds`, at most the `last` of them; None: no limit."""
        found = list(self._all.entries)
        if last is not None:
            found = found[len(found) - min(last, len(found)) :]
        return [one for one in found if seconds is None or seconds_ago(one) <= seconds]

    def reloads_since(self, seconds: float | None) -> list[PastReload]:
        """Reloads that began in the last `seconds`; None: all."""
        found = reloads.reloads(self._reloads.entries)
        return [one for one in found if seconds is None or seconds_ago(one) <= seconds]

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Pass each new entry to `follower`, until the returned function is called."""
        self._followers.add(follower)
        return lambda: self._followers.discard(follower)

    def mend(self) -> bool:
        """Write files that were deleted again, from memory; whether one was. Raises OSError."""
        return any([kept.mend() for kept in (self._all, self._reloads)])  # noqa: C419 - both

    def close(self) -> None:
        for kept in (self._all, self._reloads):
            kept.close()

    def end(self) -> None:
        """After a clean stop: close the files, and remove those that no later start reads."""
        for kept in (self._all, self._reloads):
            kept.close(remove=not self._outlives_us)


class _Kept:
    """The last entries of some kinds, or of all, and their file."""

    def __init__(
        self, name: str, most: int, file: HistoryFile, kinds: frozenset[str] | None = None
    ) -> None:
        self.name = name
        self.entries: deque[Event] = deque(map(_of_this_boot, file.read(most)), maxlen=most)
        self._kinds = kinds
        self._file = file
        self._writes = SlowWrites(name)
        self._mended = False
        self._late = False

    def add(self, entry: Event) -> None:
        if self._kinds is None or entry["kind"] in self._kinds:
            self.entries.append(entry)
            self._log_late(late=not self._writes.do(partial(self._file.append, entry)))

    def _log_late(self, *, late: bool) -> None:
        if late and not self._late:
            log.warning("writing the history takes long: the disk does not respond", file=self.name)
        self._late = late

    def mend(self) -> bool:
        """Whether a file was written again since the last call."""
        if self._writes.is_idle:
            self._writes.do(partial(self._mend, self._file, list(self.entries)))
        mended, self._mended = self._mended, False
        return mended

    def _mend(self, file: HistoryFile, entries: Iterable[Event]) -> None:
        """Runs in the thread that writes."""
        with contextlib.suppress(OSError):
            if file.is_lost():
                for entry in entries:
                    file.append(entry)
                self._mended = file.works

    def is_in_file(self) -> bool:
        """Waits up to FLUSH_SECONDS for entries that are still to be written."""
        return self._writes.flush(FLUSH_SECONDS) and self._file.works

    def add_missing(self, entries: Iterable[Event]) -> None:
        known = {json.dumps(entry) for entry in self.entries}
        for entry in entries:
            if (text := json.dumps(entry)) not in known:
                known.add(text)
                self.add(entry)

    def close(self, *, remove: bool = False) -> None:
        self._writes.do(self._file.remove if remove else self._file.close)
        self._writes.flush(FLUSH_SECONDS)


def _of_this_boot(entry: Event) -> Event:
    """Without instants of the monotonic clock of another boot."""
    if seconds_ago(entry) <= time.clock_gettime(time.CLOCK_BOOTTIME):
        return entry
    found = {name: value for name, value in entry.items() if not name.startswith("monotonic")}
    return cast(Event, found)
