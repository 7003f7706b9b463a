"""Processes as a test sees them: who carries an instance's name, and ends by pidfd."""

import os
import signal
import time
from pathlib import Path

from examples.load.waiting import wait_until

RELAY = b"WSSUPERVISOR_RELAY="


def alive(pid: int) -> bool:
    """Whether `pid` is a process that is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def workers_of(instance: str) -> dict[int, dict[str, str]]:
    """pid -> WSSUPERVISOR_* environment of every live process of that instance."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            data = (entry / "environ").read_bytes()
        except OSError:
            continue
        pairs = (item.partition("=") for item in data.decode(errors="replace").split("\0"))
        ours = {key: value for key, _, value in pairs if key.startswith("WSSUPERVISOR_")}
        if ours.get("WSSUPERVISOR_INSTANCE") == instance and alive(int(entry.name)):
            found[int(entry.name)] = ours
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Signal one process, which the caller knows to be its own."""
    fd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(fd, number)
    finally:
        os.close(fd)


def end_all(instance: str) -> list[int]:
    """Kill what is left of an instance (names are unique to a test); the pids found."""
    left = list(workers_of(instance))
    for pid in left:
        try:
            send(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_until(lambda: not workers_of(instance), what=f"end of {left}")
    return left


def children_of(pid: int) -> list[int]:
    """Its children, zombies included, but not the relay of what workers write."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [child for child in map(int, text.split()) if not _is_relay(child)]


def _is_relay(pid: int) -> bool:
    try:
        return RELAY in (Path(f"/proc/{pid}") / "environ").read_bytes()
    except OSError:
        return False


def cpu_seconds(pid: int) -> float:
    """Of a process: what it has used until now."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_clock(pid: int) -> float:
    """Seconds that stand still while a process or this one only waits for a processor."""
    return time.monotonic() - _processor_delay(pid) - _processor_delay(os.getpid())


def _processor_delay(pid: int) -> float:
    """Seconds for which a process, in its main thread, was able to run and others ran instead."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
