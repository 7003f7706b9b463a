"""Who holds a socket: found by inode in /proc, to name them in messages and to end left-overs."""

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.config.model import INSTANCE_NAME
from wssupervisor.runtime.kernel.inet_diag import DiagSocket, TcpState, sockets

COMMAND_CHARS = 60
SYS_PIDFD_GETFD = 438
"""The same on every architecture (Linux 5.6)."""
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""A process has ended, or is not for us to look into. Any other failure to look is no answer: with
no descriptor left all processes would seem to have gone, and their connections with them."""
DEAD = {"Z", "X"}
"""States of a process that has ended and was not waited for."""
_syscall = ctypes.CDLL(None, use_errno=True).syscall
ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Holder:
    """`instance` and `supervisor` are what its environment says of us, where we may read it."""

    pid: int
    command: str
    instance: str | None
    supervisor: str | None


def listening_inodes(
    family: int, host: str, port: int, *, v6only: bool = False, interface: int = 0
) -> set[int]:
    """Inodes of all sockets that listen on the address or on one that overlaps with it.

    `interface`: the only one that it listens on; 0 for all.
    """
    listen = frozenset({TcpState.LISTEN})
    same = [
        one
        for one in sockets(family, port, listen)
        if one.local[0] == host or host in ANY or one.local[0] in ANY
    ]
    return {
        one.inode
        for one in same + _of_other_family(family, host, port, v6only=v6only)
        if not interface or one.interface in (0, interface)
    }


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
    found = (pid for pid in pids() if any(link in wanted for _, link in _links(pid)))
    return [_holder(pid) for pid in found]


def ending(inodes: Iterable[int]) -> str:
    """How to end whoever it is, as the beginning of a sentence."""
    found = (one.instance for one in holders(inodes) if one.instance is not None)
    # Of another user's process: what is no name must not become part of a command.
    instance = next((one for one in found if INSTANCE_NAME.fullmatch(one)), None)
    if instance is None:
        return "Stop it"
    return (
        f"Put a new release live there with `wssctl -i {instance} reload`, end it with"
        f" `wssctl -i {instance} stop`"
    )


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


def left_in_cgroup(instance: str) -> list[int]:
    """Processes in our control group that a dead supervisor of this instance has started."""
    own = _cgroup("self")
    return [
        pid for pid in pids() if _abandoned(_holder(pid), instance) and _cgroup(str(pid)) == own
    ]


def _cgroup(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return ""


def _abandoned(holder: Holder, instance: str) -> bool:
    supervisor = holder.supervisor
    return (
        holder.instance == instance and supervisor is not None and not supervisor_lives(supervisor)
    )


def supervisor_lives(supervisor: str) -> bool:
    """Whether the supervisor that a worker carries in its environment is still there."""
    pid, _, started = supervisor.partition(":")
    return pid.isdecimal() and started.isdecimal() and is_alive(int(pid), int(started))


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid its identity."""
    found = _stat(pid)
    return None if found is None else int(found[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether the process that started then is there and no zombie."""
    found = _stat(pid)
    return found is not None and int(found[19]) == started and found[0] not in DEAD


def parent_of(pid: int) -> int | None:
    found = _stat(pid)
    return None if found is None else int(found[1])


def status_of_zombie(pid: int) -> int | None:
    """The wait status of an ended process that nobody has waited for yet (proc_pid_stat(5)).

    None for others, and where we may not look: the kernel would say 0.
    """
    try:
        ours = os.geteuid() in (0, Path(f"/proc/{pid}").stat().st_uid)
    except OSError:
        return None
    found = _stat(pid)
    return int(found[49]) if ours and found is not None and found[0] in DEAD else None


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; None when there is no such process.

    Raises OSError where we cannot look now.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except GONE:
        return None
    return text.rpartition(")")[2].split()


def pids() -> list[int]:
    """Of all processes that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


def _links(pid: int) -> Iterator[tuple[str, str]]:
    """The process's descriptors, and what they point to; nothing where we may not look.

    Raises OSError where we cannot look now.
    """
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)  # noqa: PTH208 - a third of pathlib's cost
    except GONE:
        return
    for name in names:
        try:
            yield name, os.readlink(f"{directory}/{name}")  # noqa: PTH115
        except GONE:
            continue


def may_look(pid: int) -> bool:
    """Whether this user may see which descriptors a process has; one that has ended has none."""
    directory = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(directory):  # noqa: PTH208 - as above
            with contextlib.suppress(FileNotFoundError):
                os.readlink(f"{directory}/{name}")  # noqa: PTH115
                return True
    except PermissionError:
        return False
    except OSError:
        pass
    return True


def socket_inodes(pid: int) -> set[int]:
    """Inodes of all sockets that one process holds."""
    return {int(link[8:-1]) for _, link in _links(pid) if link.startswith("socket:[")}


def open_inodes(pid: int) -> tuple[set[int], set[int]]:
    """Inodes of the sockets and of the pipes that one process holds."""
    sockets, pipes = set[int](), set[int]()
    for _, link in _links(pid):
        kind, _, inode = link.partition(":[")
        if kind == "socket":
            sockets.add(int(inode[:-1]))
        elif kind == "pipe":
            pipes.add(int(inode[:-1]))
    return sockets, pipes


def socket_descriptors(pid: int) -> dict[int, int]:
    """Inodes of all sockets that one process holds, each with one of its descriptors."""
    return {int(link[8:-1]): int(name) for name, link in _links(pid) if link.startswith("socket:[")}


def command_name(pid: int) -> str:
    """What it is called in ps; empty when it has gone."""
    try:
        text = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(char for char in text.strip() if char.isprintable())


def share(pid: int, number: int) -> int:
    """A descriptor of another process as one of ours; the caller owns it. Raises OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        found = int(_syscall(SYS_PIDFD_GETFD, pidfd, number, 0))
        if found < 0:
            failed = ctypes.get_errno()
            raise OSError(failed, os.strerror(failed))
    finally:
        os.close(pidfd)
    return found


def socket_descriptor(pid: int, inode: int) -> int | None:
    """Under which number one process holds a socket."""
    link = f"socket:[{inode}]"
    return next((int(name) for name, found in _links(pid) if found == link), None)


def descriptors_named(pid: int, link: str) -> list[str]:
    """Where to open anew what one process has open under this name."""
    return [f"/proc/{pid}/fd/{name}" for name, found in _links(pid) if found == link]


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; empty where we may not look.

    Raises OSError where we cannot look now.
    """
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except GONE:
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
