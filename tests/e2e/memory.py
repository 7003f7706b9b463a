"""Bring the kernel's own OOM killer upon one worker, on hosts of either control group version."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.machine import Machine

LIMIT = 300 << 20
V1 = Path("/sys/fs/cgroup/memory")


@contextmanager
def little_memory(machine: Machine, unit: str, pid: int) -> Iterator[Callable[[], int]]:
    """The process of this pid in the machine gets no more; what is yielded counts OOM kills."""
    controllers = machine.read("/sys/fs/cgroup/cgroup.controllers").split()
    if "memory" in controllers:
        machine.systemctl("set-property", "--runtime", unit, f"MemoryMax={LIMIT}")
        cgroup = machine.show(unit, "ControlGroup")
        yield lambda: _count(machine.read(f"/sys/fs/cgroup{cgroup}/memory.events"))
        return
    # The host has memory in the old hierarchy, which systemd does not use here.
    group = V1 / f"wss-{uuid.uuid4().hex[:12]}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
        (group / "cgroup.procs").write_text(str(outside(machine, pid)))
        yield lambda: _count((group / "memory.oom_control").read_text())
    finally:
        for left in (group / "cgroup.procs").read_text().split():
            (V1 / "cgroup.procs").write_text(left)
        group.rmdir()


def _count(events: str) -> int:
    found = re.search(r"^oom_kill (\d+)$", events, re.MULTILINE)
    assert found is not None, events
    return int(found[1])


def outside(machine: Machine, pid: int) -> int:
    """The pid that a process of the machine has here."""
    own = Path(f"/proc/{machine.leader}/ns/pid").readlink()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            numbers = re.search(r"^NSpid:\s+(.*)$", status.read_text(), re.MULTILINE)
            same = (status.parent / "ns/pid").readlink() == own
        except OSError:
            continue
        if same and numbers is not None and numbers[1].split()[-1] == str(pid):
            return int(status.parent.name)
    raise AssertionError(f"no process {pid} in the machine")
