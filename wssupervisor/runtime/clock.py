"""The fleet's clock, which pauses briefly after this process was stopped."""

import time
from datetime import UTC, datetime

import structlog

log = structlog.get_logger()

STALL_SECONDS = 1.0
"""Seconds without an event that show that this process did not run: the watch makes 5 a second."""
CATCH_UP_SECONDS = 0.3
"""Pause of the fleet's clock after a stall: everything is read before anything is judged."""


class Clock:
    """CLOCK_MONOTONIC in seconds, except for a moment after we were stopped or suspended.

    What happened meanwhile is still unread in sockets; a limit that has passed must not be judged
    before it is read.
    """

    def __init__(self) -> None:
        self._seen_at = self._fleet_now = time.monotonic()
        self._stands_until = 0.0

    def stand_still(self) -> None:
        """Pause for CATCH_UP_SECONDS from now."""
        self._stands_until = time.monotonic() + CATCH_UP_SECONDS

    def now(self) -> float:
        now = time.monotonic()
        if now - self._seen_at > STALL_SECONDS:
            self.stand_still()
            log.warning("was not running", seconds=round(now - self._seen_at, 1))
        self._seen_at = now
        if now >= self._stands_until:
            self._fleet_now = now
        return self._fleet_now

    def reaches(self, deadline: float) -> float:
        """The earliest monotonic instant at which the fleet's clock can reach the deadline."""
        return max(deadline, self._stands_until)


def wall(at: float) -> str:
    """A monotonic instant as UTC wall-clock time: ISO 8601 with a Z."""
    moment = datetime.fromtimestamp(time.time() - (time.monotonic() - at), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
