"""How many lines of a kind may be logged that somebody else can cause at will: pure, no clock.

A worker can send bad messages, and a member of the group requests, as fast as a processor allows.
Of each kind the first lines are logged, the others counted, and the count is a line of its own.
"""

from collections.abc import Hashable
from dataclasses import dataclass

LINES = 20
SECONDS = 10.0
"""So many lines of a kind in such a time."""


@dataclass(slots=True)
class _Window:
    until: float
    lines: int = 0
    suppressed: int = 0


class LineLimit:
    """`now` is CLOCK_MONOTONIC. A kind is forgotten once its time is over."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window] = {}

    def admits(self, kind: Hashable, now: float) -> bool:
        """Whether this line is logged; otherwise it is counted."""
        window = self._windows.setdefault(kind, _Window(now + SECONDS))
        if window.lines < LINES:
            window.lines += 1
            return True
        window.suppressed += 1
        return False

    def over(self, now: float) -> list[tuple[Hashable, int]]:
        """Kinds whose time is over with lines that were not logged, and how many those are."""
        ended = [kind for kind, one in self._windows.items() if one.until <= now]
        found = [(kind, self._windows.pop(kind).suppressed) for kind in ended]
        return [(kind, suppressed) for kind, suppressed in found if suppressed]
