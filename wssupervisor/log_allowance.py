"""The limit for the workers' output in the journal, so that a flood does not fill it.

journald limits a unit as a whole, and would drop the supervisor's own messages during the flood of
a worker. So the unit turns that limit off, and this limit replaces it for output only.
"""

LINES = 10_000
SECONDS = 30.0
"""Lines allowed at once, and the time until as many are allowed again: journald's default."""


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
        """Use up lines. One read may overdraw the allowance."""
        self._left -= lines
