"""How much of the workers' output may go to the journal, so that a flood does not fill it.

journald limits a unit as a whole, and would hide the supervisor's own words behind the flood of a
worker. So the unit turns that limit off, and this takes its place for output alone.
"""

LINES = 10_000
SECONDS = 30.0
"""Lines that may come at once, and the time in which as many may come again: journald's default."""


class Allowance:
    """A bucket of lines that fills again evenly. `now` is CLOCK_MONOTONIC."""

    def __init__(self, now: float) -> None:
        self._left = float(LINES)
        self._at = now

    def left(self, now: float) -> int:
        self._left = min(LINES, self._left + (now - self._at) * LINES / SECONDS)
        self._at = now
        return int(self._left)

    def spend(self, lines: int) -> None:
        """What was read in one go may overdraw it."""
        self._left -= lines
