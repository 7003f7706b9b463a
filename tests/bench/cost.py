"""Memory (PSS) and CPU time of one process or of a whole tree."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

PSS = "Pss:"
CPUCLOCK_SCHED = 2  # of clock_getcpuclockid(3): in nanoseconds; /proc/PID/stat has steps of 10 ms


def tree(roots: Iterable[int]) -> frozenset[int]:
    """Return these processes and all their descendants."""
    found: set[int] = set()
    for root in roots:
        try:
            process = psutil.Process(root)
            found |= {root} | {child.pid for child in process.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    return frozenset(found)


def pss_mb(pids: Iterable[int]) -> float:
    """Return memory in 10^6 bytes. Shared memory is divided among its processes."""
    return sum(_pss_bytes(pid) for pid in pids) / 1e6


def _pss_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in text.splitlines():
        if line.startswith(PSS):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return all CPU time so far of living processes."""
    return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    except OSError:
        return 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    cpu_seconds: float
    seconds: float

    @property
    def percent(self) -> float:
        """Percent of one core."""
        return 100 * self.cpu_seconds / self.seconds


class Meter:
    """CPU time of a set of processes from now on. They must still be alive when it is read."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = frozenset(pids)
        self._cpu = cpu_seconds(self._pids)
        self._begun = time.monotonic()

    def read(self) -> Spent:
        return Spent(cpu_seconds(self._pids) - self._cpu, time.monotonic() - self._begun)
