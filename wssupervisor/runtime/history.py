"""What happened, kept for `wssctl events` and `wssctl history`, and told to whoever follows."""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wssupervisor.fleet.actions import Note
from wssupervisor.runtime.history_file import HistoryFile

KEPT = 1000
"""Entries kept in memory; the older ones are in the log."""
FILE_BYTES = 1 << 20
"""Of each of two files: some thousand entries."""

Entry = dict[str, Any]
Follower = Callable[[Entry], None]


def wall(at: float) -> str:
    """A monotonic instant as UTC wall-clock time, for people; ISO 8601 with a Z."""
    moment = datetime.fromtimestamp(time.time() - (time.monotonic() - at), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_ago(entry: Entry) -> float:
    """By the wall clock: an entry may be of another boot. Infinity where it does not say."""
    try:
        return time.time() - datetime.fromisoformat(entry["at"]).timestamp()
    except ValueError:
        return float("inf")


class History:
    """In memory, and in a file once `keep_in` has named one."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._followers: set[Follower] = set()
        self._file: HistoryFile | None = None
        self._outlives_us = False

    def keep_in(self, beside: str) -> None:
        """Read what is there, and write down what comes: in systemd's StateDirectory=, for good.

        Without one it lies at a path that begins with `beside`, and goes with a clean stop.
        """
        state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        self._outlives_us = bool(state)
        path = str(Path(state, "events.jsonl")) if state else f"{beside}.events"
        self._file = HistoryFile(path, FILE_BYTES)
        self._entries.extend(map(_of_this_boot, self._file.read(KEPT)))

    def add(self, note: Note, extra: Mapping[str, Any]) -> None:
        """Keep a note and tell it on; `extra` are facts that only the runtime knows."""
        entry = {"at": wall(time.monotonic()), "kind": note.kind.value, **note.fields, **extra}
        self._keep(entry)
        for follower in list(self._followers):
            follower(entry)

    def _keep(self, entry: Entry) -> None:
        self._entries.append(entry)
        if self._file is not None:
            self._file.append(entry)

    def carry(self) -> list[tuple[float, Entry]]:
        """For a program after us, with monotonic instants, what it will not find in the file."""
        if self._file is not None and self._file.works:
            return []
        now = time.monotonic()
        return [(now - seconds_ago(entry), entry) for entry in self._entries]

    def take_over(self, entries: Iterable[tuple[float, Entry]]) -> None:
        """What the program before us had in its memory, and perhaps not in the file."""
        known = {json.dumps(entry) for entry in self._entries}
        for _, entry in entries:
            if json.dumps(entry) not in known:
                self._keep(entry)

    def since(self, seconds: float | None) -> list[Entry]:
        """The entries of the last so many seconds; all that are kept for None."""
        return [one for one in self._entries if seconds is None or seconds_ago(one) <= seconds]

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Tell every further entry to `follower`, until the returned function is called."""
        self._followers.add(follower)
        return lambda: self._followers.discard(follower)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def end(self) -> None:
        """After a clean stop: what nobody will read any more goes."""
        if self._file is not None and not self._outlives_us:
            self._file.remove()
        self.close()


def _of_this_boot(entry: Entry) -> Entry:
    """Without the instants of another boot's clock, which would mislead."""
    if seconds_ago(entry) <= time.clock_gettime(time.CLOCK_BOOTTIME):
        return entry
    return {name: value for name, value in entry.items() if not name.startswith("monotonic")}
