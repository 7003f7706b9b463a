"""How many descriptors a process of a machine holds while nobody asks it anything."""

import time

import psutil

from tests.e2e.machine import Machine
from tests.e2e.memory import outside

LOOKS = 85
LOOK_SECONDS = 0.2
"""Together longer than a probe is held (held_probes.py)."""


def resting(machine: Machine, pid: int) -> int:
    """The fewest of some looks: a client that asks for the status, or a probe, costs one."""
    process, seen = psutil.Process(outside(machine, pid)), []
    for _ in range(LOOKS):
        seen.append(process.num_fds())
        time.sleep(LOOK_SECONDS)
    return min(seen)
