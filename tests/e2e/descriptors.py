"""How many descriptors a process of a machine holds while no client asks it anything."""

import time
from pathlib import Path

from tests.e2e.machine import Machine
from tests.e2e.memory import outside

LOOKS = 10
LOOK_SECONDS = 0.1
ESTABLISHED = "01"


def resting(machine: Machine, pid: int) -> int:
    """The fewest of some looks, without established TCP connections.

    A client that asks for the status costs one for a moment. A probe costs an established
    connection for up to 15 s (held_probes.py); one that leaked would be in another state after
    that, because its server closes it.
    """
    own, seen = Path(f"/proc/{outside(machine, pid)}"), []
    for _ in range(LOOKS):
        probes = _established(own)
        seen.append(sum(target not in probes for target in _targets(own)))
        time.sleep(LOOK_SECONDS)
    return min(seen)


def _targets(process: Path) -> list[str]:
    found = []
    for one in (process / "fd").iterdir():
        try:
            found.append(str(one.readlink()))
        except FileNotFoundError:
            continue
    return found


def _established(process: Path) -> set[str]:
    """As the links of descriptors name them."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in (process / "net" / name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == ESTABLISHED:
                found.add(f"socket:[{fields[9]}]")
    return found
