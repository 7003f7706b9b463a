"""The processor time of each worker, read once a second."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

SPAN = 0.5
"""Shortest interval, in seconds, that a share is computed over."""


@dataclass(frozen=True, slots=True)
class Use:
    """CPU time of a main process. `percent`: share of a core; None before the second reading."""

    at: float
    seconds: float
    percent: float | None


class Usage:
    def __init__(self) -> None:
        self.by_pid: dict[int, Use] = {}

    def look(self, pids: Iterable[int]) -> None:
        """Take the next sample; forget processes that have ended."""
        found: dict[int, Use] = {}
        for pid in pids:
            before = self.by_pid.get(pid)
            now = time.monotonic()
            if before is not None and now - before.at < SPAN:
                found[pid] = before
                continue
            try:
                times = psutil.Process(pid).cpu_times()
            except (psutil.Error, OSError):  # gone, or no descriptor is left to read it
                continue
            found[pid] = _use(before, now, times.user + times.system)
        self.by_pid = found


def _use(before: Use | None, now: float, seconds: float) -> Use:
    if before is None or seconds < before.seconds:  # fewer seconds: another process has this pid
        return Use(now, seconds, None)
    return Use(now, seconds, round(100 * (seconds - before.seconds) / (now - before.at), 1))
