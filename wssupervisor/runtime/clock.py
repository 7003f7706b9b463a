"""The fleet's time, which stands still for a moment after this process did."""

import time
from datetime import UTC, datetime

import structlog

log = structlog.get_logger()

STALL_SECONDS = 1.0
"""So long without an event (the watch makes five a second) means that we slept, not the others."""
CATCH_UP_SECONDS = 0.3
"""After a stall the fleet's clock stands still for so long: all is read before any is judged."""


class Clock:
    """CLOCK_MONOTONIC, in seconds, but for a moment after we were stopped or suspended.

    What happened meanwhile lies in sockets and is read then; a limit that passed meanwhile would be
    judged without it.
    """

    def __init__(self) -> None:
        self._seen_at = self._fleet_now = time.monotonic()
        self._stands_until = 0.0

    def stand_still(self) -> None:
        """For CATCH_UP_SECONDS from now."""
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
        """When, at the earliest, the fleet's time can be that late."""
        return max(deadline, self._stands_until)


def wall(at: float) -> str:
    """A monotonic instant as UTC wall-clock time, for people; ISO 8601 with a Z."""
    moment = datetime.fromtimestamp(time.time() - (time.monotonic() - at), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
