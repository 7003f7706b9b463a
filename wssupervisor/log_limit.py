"""The limit for log lines that others can cause at will. Pure, no clock.

A worker can send bad messages, and a member of the group requests, as fast as a CPU allows. Of each
kind the first lines are logged; the others are counted, and their number is logged as one line.
"""

from collections.abc import Hashable
from dataclasses import dataclass

LINES = 20
SECONDS = 10.0
"""At most LINES lines of a kind in SECONDS."""


@dataclass(slots=True)
class _Window:
    until: float
    lines: int = 0
    suppressed: int = 0


class LineLimit:
    """`now` is CLOCK_MONOTONIC. A kind is forgotten after its time."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window] = {}

    def admits(self, kind: Hashable, now: float) -> bool:
        """Whether to log this line. Otherwise it is counted."""
        window = self._windows.setdefault(kind, _Window(now + SECONDS))
        if window.lines < LINES:
            window.lines += 1
            return True
        window.suppressed += 1
        return False

    def over(self, now: float) -> list[tuple[Hashable, int]]:
        """Return kinds whose time is over, with the number of lines that were not logged."""
        ended = [kind for kind, one in self._windows.items() if one.until <= now]
        found = [(kind, self._windows.pop(kind).suppressed) for kind in ended]
        return [(kind, suppressed) for kind, suppressed in found if suppressed]
