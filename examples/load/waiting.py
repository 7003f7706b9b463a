"""Waiting for a condition, with a bound that says what was waited for."""

import time
from collections.abc import Callable

POLL_EVERY = 0.01


class NotInTime(AssertionError):
    """The condition did not come true; as an AssertionError it is a test's failure."""


def wait_until(
    condition: Callable[[], object], *, within: float, what: str, every: float = POLL_EVERY
) -> float:
    """Poll until `condition()` is true; the seconds it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > within:
            raise NotInTime(f"{what}: not within {within:g} s")
        time.sleep(every)
    return time.monotonic() - begun
