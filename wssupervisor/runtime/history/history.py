"""What happened, kept for `wssctl events` and `wssctl history`, and told to whoever follows."""

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
from typing import Any

import structlog

from wssupervisor.bounded import bounded_fields
from wssupervisor.control.paths import OWN
from wssupervisor.fleet.notes import Note
from wssupervisor.runtime.clock import wall
from wssupervisor.runtime.history import reloads
from wssupervisor.runtime.history.file import HistoryFile
from wssupervisor.runtime.history.slow_writes import SlowWrites

log = structlog.get_logger()

FLUSH_SECONDS = 0.5
"""How long an upgrade, or the end, waits for a disk."""

KEPT = 1000
"""Entries kept in memory; the older ones are in the file, and in the log."""
FILE_BYTES = 1 << 20
"""Of each of two files: some thousand entries."""
RELOAD_ENTRIES_KEPT = 2000
"""Kept apart, or a worker that crashes for a day would push all reloads out; some four a reload."""
RELOADS_FILE_BYTES = 1 << 19

Entry = dict[str, Any]
Follower = Callable[[Entry], None]


def seconds_ago(entry: Entry) -> float:
    """By the wall clock: an entry may be of another boot. Infinity where it does not say."""
    try:
        return time.time() - datetime.fromisoformat(entry["at"]).timestamp()
    except (ValueError, OverflowError):
        return float("inf")


@dataclass(frozen=True, slots=True)
class HistoryState:
    """Entries with their monotonic instants: those that the next program does not find in files."""

    entries: tuple[tuple[float, Entry], ...] = ()


class History:
    """In memory, and in files: in systemd's StateDirectory=, for good.

    Without that directory the files lie at paths that begin with `beside`, and a clean stop removes
    them.
    """

    def __init__(self, beside: str, saved: HistoryState | None = None) -> None:
        """Read what is in the files, and add what only the program before us had in memory."""
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
            found = [entry for _, entry in saved.entries]
            self._all.add_missing(found)
            self._reloads.add_missing(found)

    def add(self, note: Note, extra: Mapping[str, Any]) -> None:
        """Keep a note and tell it on; `extra` are facts that only the runtime knows."""
        entry = {"at": wall(time.monotonic()), "kind": note.kind.value}
        entry |= {**bounded_fields(note.fields), **extra}
        self._all.add(entry)
        self._reloads.add(entry)
        for follower in list(self._followers):
            try:
                follower(entry)
            except Exception:  # it is told within a step: see deeds
                log.exception("an event could not be passed on", kind=entry["kind"])

    def save(self) -> HistoryState:
        """Waits for a moment, for what is still to be written to the files."""
        if self._all.is_in_file() and self._reloads.is_in_file():
            return HistoryState()
        now = time.monotonic()
        entries = [*self._reloads.entries, *self._all.entries]
        return HistoryState(tuple((now - seconds_ago(entry), entry) for entry in entries))

    def since(self, seconds: float | None, last: int | None = None) -> list[Entry]:
        """The entries of the last so many seconds, and of those the `last`; None: all there are."""
        found = list(self._all.entries)
        if last is not None:
            found = found[len(found) - min(last, len(found)) :]
        return [one for one in found if seconds is None or seconds_ago(one) <= seconds]

    def reloads_since(self, seconds: float | None) -> list[Entry]:
        """Those that began in the last so many seconds, each with all that is known of it."""
        found = reloads.reloads(self._reloads.entries)
        return [one for one in found if seconds is None or seconds_ago(one) <= seconds]

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Tell every further entry to `follower`, until the returned function is called."""
        self._followers.add(follower)
        return lambda: self._followers.discard(follower)

    def mend(self) -> bool:
        """Write down again what was swept away, as far as it is in memory. Raises OSError."""
        return any([kept.mend() for kept in (self._all, self._reloads)])  # noqa: C419 - both

    def close(self) -> None:
        for kept in (self._all, self._reloads):
            kept.close()

    def end(self) -> None:
        """After a clean stop: what nobody will read any more goes."""
        for kept in (self._all, self._reloads):
            kept.close(remove=not self._outlives_us)


class _Kept:
    """The last entries of some kinds, or of all, and where they are written down."""

    def __init__(
        self, name: str, most: int, file: HistoryFile, kinds: frozenset[str] | None = None
    ) -> None:
        self.name = name
        self.entries: deque[Entry] = deque(map(_of_this_boot, file.read(most)), maxlen=most)
        self._kinds = kinds
        self._file = file
        self._writes = SlowWrites(name)
        self._mended = False
        self._late = False

    def add(self, entry: Entry) -> None:
        if self._kinds is None or entry["kind"] in self._kinds:
            self.entries.append(entry)
            self._tell_late(late=not self._writes.do(partial(self._file.append, entry)))

    def _tell_late(self, *, late: bool) -> None:
        if late and not self._late:
            log.warning("history is written late: the disk does not answer", file=self.name)
        self._late = late

    def mend(self) -> bool:
        """Whether it was mended since this was asked last."""
        if self._writes.is_idle:
            self._writes.do(partial(self._mend, self._file, list(self.entries)))
        mended, self._mended = self._mended, False
        return mended

    def _mend(self, file: HistoryFile, entries: Iterable[Entry]) -> None:
        """By the thread that writes."""
        with contextlib.suppress(OSError):
            if file.is_lost():
                for entry in entries:
                    file.append(entry)
                self._mended = file.works

    def is_in_file(self) -> bool:
        """Waits for a moment, for what is still to be written."""
        return self._writes.flush(FLUSH_SECONDS) and self._file.works

    def add_missing(self, entries: Iterable[Entry]) -> None:
        known = {json.dumps(entry) for entry in self.entries}
        for entry in entries:
            if (text := json.dumps(entry)) not in known:
                known.add(text)
                self.add(entry)

    def close(self, *, remove: bool = False) -> None:
        self._writes.do(self._file.remove if remove else self._file.close)
        self._writes.flush(FLUSH_SECONDS)


def _of_this_boot(entry: Entry) -> Entry:
    """Without the instants of another boot's clock, which would mislead."""
    if seconds_ago(entry) <= time.clock_gettime(time.CLOCK_BOOTTIME):
        return entry
    return {name: value for name, value in entry.items() if not name.startswith("monotonic")}
