"""Wait for a condition, with a limit whose error names the condition."""

import time
from collections.abc import Callable

POLL_EVERY = 0.02
REST = 4
"""A look that takes long is followed by a pause of this many times its length, up to REST_MAX: what
is looked at runs on the same processors."""
REST_MAX = 0.2
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
    begun = looked = time.monotonic()
    while not condition():
        now = time.monotonic()
        if (took := now - begun) > within:
            raise NotInTime(f"{what}: not within {took:.3g} s")
        time.sleep(max(every, min(REST * (now - looked), REST_MAX)) if every else 0)
        looked = time.monotonic()
    return time.monotonic() - begun
