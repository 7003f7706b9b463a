"""Wait for a condition, with a limit whose error names the condition."""

import time
from collections.abc import Callable

POLL_EVERY = 0.01
HANG_SECONDS = 120.0
"""The one guard of all tests against a hang. It states no promise, so no test may rely on it.

It is long enough for a machine that is busy with other work; nothing scales it. A promise about
time is held by instants that the program recorded, by the order of two events, or by a test that
has the machine to itself (marker `alone`). A shorter limit is right if something else would make
the condition true later, and then its name says what; or if a user waits for the message.
"""


class NotInTime(AssertionError):
    """The condition did not become true. As an AssertionError it fails a test."""


def wait_until(
    condition: Callable[[], object],
    *,
    what: str,
    within: float = HANG_SECONDS,
    every: float = POLL_EVERY,
) -> float:
    """Poll until `condition()` is true. Returns the seconds that it took.

    `within`: seconds. Raises NotInTime.
    """
    begun = time.monotonic()
    while not condition():
        if (took := time.monotonic() - begun) > within:
            raise NotInTime(f"{what}: not within {took:.3g} s")
        time.sleep(every)
    return time.monotonic() - begun
