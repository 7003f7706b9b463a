"""Whether a test has the machine to itself, for those few that measure time."""

import time
from pathlib import Path

import pytest

OTHERS_MAX = 0.15
"""Share of all processors that other programs may take."""
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 20.0
"""For what an earlier test left behind to end."""
IDLE = (3, 4)
"""Of the columns of /proc/stat: idle, and waiting for a disk."""


def require_machine() -> None:
    """Wait until nothing else runs; skip the test if something keeps running.

    Call it before the test starts processes of its own. In CI a skip is a failure (`required`).
    """
    begun = time.monotonic()
    while (others := taken()) > OTHERS_MAX:
        if time.monotonic() - begun > PATIENCE_SECONDS:
            pytest.skip(
                f"measures time, but other programs take {others:.0%} of the processors:"
                " run it on an idle machine"
            )


def taken() -> float:
    """Share of all processors that was busy during one look, in which we do nothing."""
    before = _times()
    time.sleep(LOOK_SECONDS)
    spent = [now - then for then, now in zip(before, _times(), strict=True)]
    return 1.0 - sum(spent[column] for column in IDLE) / max(1, sum(spent))


def _times() -> list[int]:
    """Clock ticks of all processors together: user, nice, system, idle, iowait, irq, ..."""
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    return [int(ticks) for ticks in first.split()[1:9]]
