"""Wait for a condition, with a limit whose error names the condition."""

import time
from collections.abc import Callable

POLL_EVERY = 0.01


class NotInTime(AssertionError):
    """The condition did not become true. As an AssertionError it fails a test."""


def wait_until(
    condition: Callable[[], object], *, within: float, what: str, every: float = POLL_EVERY
) -> float:
    """Poll until `condition()` is true. Returns the seconds that it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > within:
            raise NotInTime(f"{what}: not within {within:g} s")
        time.sleep(every)
    return time.monotonic() - begun
