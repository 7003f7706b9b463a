"""Who holds a socket: found by inode in /proc, to name them in messages and to end left-overs."""

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.runtime.sockdiag import DiagSocket, TcpState, sockets

COMMAND_CHARS = 60
DEAD = {"Z", "X"}
"""States of a process that has ended and was not waited for."""
ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Holder:
    """`instance` and `supervisor` are what its environment says of us, where we may read it."""

    pid: int
    command: str
    instance: str | None
    supervisor: str | None


def listening_inodes(family: int, host: str, port: int, *, v6only: bool = False) -> set[int]:
    """Inodes of all sockets that listen on the address or on one that overlaps with it."""
    listen = frozenset({TcpState.LISTEN})
    same = [
        one
        for one in sockets(family, port, listen)
        if one.local[0] == host or host in ANY or one.local[0] in ANY
    ]
    return {one.inode for one in same + _of_other_family(family, host, port, v6only=v6only)}


def _of_other_family(family: int, host: str, port: int, *, v6only: bool) -> list[DiagSocket]:
    """An IPv6 socket on all addresses takes IPv4 clients too, unless it is IPv6 only."""
    listen = frozenset({TcpState.LISTEN})
    if family == socket.AF_INET:
        others = sockets(socket.AF_INET6, port, listen)
        return [one for one in others if one.local[0] == "::" and not one.v6only]
    return sockets(socket.AF_INET, port, listen) if host == "::" and not v6only else []


def holders(inodes: Iterable[int]) -> list[Holder]:
    """Every process with one of these sockets, as far as this user may look."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = (pid for pid in _pids() if not wanted.isdisjoint(_links(pid)))
    return [_holder(pid) for pid in found]


def describe_holders(inodes: Iterable[int]) -> str:
    """Them in words, a supervisor's instance first; empty when none can be seen."""
    found = holders(inodes)
    instances = sorted({one.instance for one in found if one.instance is not None})
    text = "; ".join(f"pid {one.pid} ({one.command})" for one in found[:3])
    if instances:
        return f"instance {', '.join(map(repr, instances))} of wssupervisor, {text}"
    return text


def left_over(inodes: Iterable[int], instance: str) -> list[int]:
    """Pids to end when all holders are workers of this instance whose supervisor has died.

    Empty when anybody else has a part in it, or cannot be seen.
    """
    found = holders(inodes)
    return [one.pid for one in found] if all(_abandoned(one, instance) for one in found) else []


def abandoned(inodes: Iterable[int], instance: str) -> list[int]:
    """Those holders that are workers of this instance whose supervisor has died."""
    return [one.pid for one in holders(inodes) if _abandoned(one, instance)]


def _abandoned(holder: Holder, instance: str) -> bool:
    supervisor = holder.supervisor
    return holder.instance == instance and supervisor is not None and not _lives(supervisor)


def _lives(supervisor: str) -> bool:
    pid, _, started = supervisor.partition(":")
    if not pid.isdecimal() or str(start_time(int(pid))) != started:
        return False
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in DEAD


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid its identity."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


def _links(pid: int) -> Iterator[str]:
    """What the process's descriptors point to; nothing of one that is gone or not ours to see."""
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)  # noqa: PTH208 - a third of pathlib's cost
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(f"{directory}/{name}")  # noqa: PTH115
        except OSError:
            continue


def socket_inodes(pid: int) -> set[int]:
    """Inodes of all sockets that one process holds."""
    return {int(link[8:-1]) for link in _links(pid) if link.startswith("socket:[")}


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; empty where we may not look."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (part.partition(b"=") for part in data.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def _holder(pid: int) -> Holder:
    own = environment(pid)
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    command = os.fsdecode(b" ".join(words)).strip()[:COMMAND_CHARS]
    return Holder(
        pid, command, own.get("WSSUPERVISOR_INSTANCE"), own.get("WSSUPERVISOR_SUPERVISOR")
    )
