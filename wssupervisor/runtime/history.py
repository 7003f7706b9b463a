"""What happened, kept for `wssctl events` and told to whoever follows."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from wssupervisor.fleet.actions import Note

KEPT = 1000
"""Notes kept in memory; the older ones are in the log."""

Entry = dict[str, Any]
Follower = Callable[[Entry], None]


def wall(at: float) -> str:
    """A monotonic instant as UTC wall-clock time, for people; ISO 8601 with a Z."""
    moment = datetime.fromtimestamp(time.time() - (time.monotonic() - at), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class History:
    def __init__(self) -> None:
        self._entries: deque[tuple[float, Entry]] = deque(maxlen=KEPT)
        self._followers: set[Follower] = set()

    def add(self, note: Note, extra: Mapping[str, Any]) -> None:
        """Keep a note and tell it on; `extra` are facts that only the runtime knows."""
        now = time.monotonic()
        entry = {"at": wall(now), "kind": note.kind.value, **note.fields, **extra}
        self._entries.append((now, entry))
        for follower in list(self._followers):
            follower(entry)

    def carry(self) -> list[tuple[float, Entry]]:
        return list(self._entries)

    def take_over(self, entries: Iterable[tuple[float, Entry]]) -> None:
        """What the program before us kept."""
        self._entries.extend(entries)

    def since(self, seconds: float | None) -> list[Entry]:
        """The notes of the last so many seconds; all that are kept for None."""
        oldest = float("-inf") if seconds is None else time.monotonic() - seconds
        return [entry for at, entry in self._entries if at >= oldest]

    def follow(self, follower: Follower) -> Callable[[], None]:
        """Tell every further note to `follower`, until the returned function is called."""
        self._followers.add(follower)
        return lambda: self._followers.discard(follower)
