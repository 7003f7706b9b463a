"""Processes that hold a socket, found by inode in /proc: named in messages, or ended at start."""

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.config.model import INSTANCE_NAME
from wssupervisor.runtime.kernel import control_group
from wssupervisor.runtime.kernel.inet_diag import DiagSocket, TcpState, sockets
from wssupervisor.runtime.kernel.procfs import environment, is_alive, links, pids

COMMAND_CHARS = 60
ANY = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Holder:
    """A process. `instance`, `supervisor`: from its environment; None if not ours or unreadable."""

    pid: int
    command: str
    instance: str | None
    supervisor: str | None


def listening_inodes(
    family: int, host: str, port: int, *, v6only: bool = False, interface: int = 0
) -> set[int]:
    """Return inodes of all sockets that listen on the address or an overlapping one.

    `interface`: index of the only interface that the address is used on; 0 for all.
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
    """Return listeners of the other IP version: "::" also takes IPv4, unless it is IPv6 only."""
    listen = frozenset({TcpState.LISTEN})
    if family == socket.AF_INET:
        others = sockets(socket.AF_INET6, port, listen)
        return [one for one in others if one.local[0] == "::" and not one.v6only]
    return sockets(socket.AF_INET, port, listen) if host == "::" and not v6only else []


def holders(inodes: Iterable[int]) -> list[Holder]:
    """Return every process that holds one of these sockets, as far as this user may see."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = (pid for pid in pids() if any(link in wanted for _, link in links(pid)))
    return [_holder(pid) for pid in found]


def ending(inodes: Iterable[int]) -> str:
    """Return how to end the holders, as the beginning of a sentence."""
    found = (one.instance for one in holders(inodes) if one.instance is not None)
    # The variable may be another user's: only a valid name may become part of a command.
    instance = next((one for one in found if INSTANCE_NAME.fullmatch(one)), None)
    if instance is None:
        return "Stop it"
    return (
        f"Deploy a new release there with `wssctl -i {instance} reload`, stop it with"
        f" `wssctl -i {instance} stop`"
    )


def describe_holders(inodes: Iterable[int]) -> str:
    """Describe the holders, instances of wssupervisor first; empty if none is visible."""
    found = holders(inodes)
    instances = sorted({one.instance for one in found if one.instance is not None})
    text = "; ".join(f"pid {one.pid} ({one.command})" for one in found[:3])
    if instances:
        return f"instance {', '.join(map(repr, instances))} of wssupervisor, {text}"
    return text


def leftovers(inodes: Iterable[int], instance: str) -> list[int]:
    """Return the holders' pids if all are workers of this instance whose supervisor has died.

    Empty if any other process holds one of the sockets, or if a holder may be hidden from us.
    """
    found = holders(inodes)
    return [one.pid for one in found] if all(_abandoned(one, instance) for one in found) else []


def abandoned(inodes: Iterable[int], instance: str) -> list[int]:
    """Return pids of the holders that are workers of this instance whose supervisor has died."""
    return [one.pid for one in holders(inodes) if _abandoned(one, instance)]


def left_in_cgroup(instance: str) -> list[int]:
    """Processes in our control group that a dead supervisor of this instance has started."""
    return [pid for pid in pids() if _abandoned(_holder(pid), instance) and _is_in_our_group(pid)]


def _is_in_our_group(pid: int) -> bool:
    try:
        return control_group.text_of(pid) == control_group.text_of(os.getpid())
    except OSError:
        return False


def _abandoned(holder: Holder, instance: str) -> bool:
    supervisor = holder.supervisor
    return (
        holder.instance == instance and supervisor is not None and not supervisor_lives(supervisor)
    )


def supervisor_lives(supervisor: str) -> bool:
    """Whether the supervisor that a worker's environment names still lives."""
    pid, _, started = supervisor.partition(":")
    return pid.isdecimal() and started.isdecimal() and is_alive(int(pid), int(started))


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
