"""Wait for a condition, with a limit whose error names the condition."""

import os
import time
from collections.abc import Callable

POLL_EVERY = 0.01
RUNNABLE = 3.0
"""Threads that want each processor, up to which limits hold as they are."""


class NotInTime(AssertionError):
    """The condition did not become true. As an AssertionError it fails a test."""


def slowness() -> float:
    """Factor for limits of time: 1 unless other programs keep the machine busy.

    A limit finds what never happens, or what waits for a wrong clock; on a machine that does other
    work it must not find that work.
    """
    return max(1.0, os.getloadavg()[0] / (RUNNABLE * (os.cpu_count() or 1)))


def wait_until(
    condition: Callable[[], object], *, within: float, what: str, every: float = POLL_EVERY
) -> float:
    """Poll until `condition()` is true. Returns the seconds that it took.

    `within`: seconds, on a machine that does little else. Raises NotInTime.
    """
    begun = time.monotonic()
    while not condition():
        if (took := time.monotonic() - begun) > within and took > within * slowness():
            raise NotInTime(f"{what}: not within {took:.3g} s")
        time.sleep(every)
    return time.monotonic() - begun
