"""Servers that bind an address themselves instead of using the descriptor that they are given."""

import re
from collections.abc import Collection, Iterable, Sequence
from socket import AF_INET, AF_INET6

from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR
from wssupervisor.runtime.kernel.inet_diag import TcpState, sockets
from wssupervisor.runtime.kernel.procfs import command_name, environment
from wssupervisor.runtime.listeners.holders import listening_inodes
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.listeners.tcp_pool import TcpPool
from wssupervisor.runtime.workers.process import Process

_IN_USE = re.compile(
    r"EADDRINUSE|address (?:is )?already in use|\b(?:errno|os error) 98\b", re.IGNORECASE
)
ANY_PORT = 0


def taken_by_us(lines: Iterable[str], addresses: Sequence[str]) -> str | None:
    """Return advice for a worker that could not bind an address; None unless its output shows that.

    `lines`: its last lines. `addresses`: those of the listeners, in their order.
    """
    for line in lines:
        if not _IN_USE.search(line):
            continue
        for at, address in enumerate(addresses):
            port = address.rpartition(":")[2]
            if re.search(rf"\b{re.escape(port)}\b", line):
                return f"it binds {address} itself, which this instance holds. {_take(at)}"
        return (
            f"it binds an address that is in use. If this is the address to serve: {_take(0)}. Any"
            " other address, such as one for metrics, must differ between generations, because they"
            " run side by side"
        )
    return None


def _take(at: int) -> str:
    return (
        f"Make the server use descriptor {FIRST_DESCRIPTOR + at} instead (LISTEN_FDS; {{fd}} in"
        " [app] command becomes that number)"
    )


def same_address(listeners: ListenerSet, process: Process, given: Collection[SlotId]) -> str | None:
    """Return what is wrong if a socket of the process's own joined a slot's group, or None.

    No connection is steered to a socket that is not a slot. Raises OSError.
    """
    for at, pool in enumerate(listeners.pools.values()):
        if not isinstance(pool, TcpPool):
            continue
        there = listening_inodes(
            pool.family,
            pool.host,
            pool.port,
            v6only=pool.v6only,
            interface=pool.reach.interface,
        )
        foreign = there - {slot.inode for slot in pool.slots} - set(given)
        if foreign and foreign & process.socket_inodes():
            return (
                f"binds {pool.address} itself, with SO_REUSEPORT, so no new connection would reach"
                f" it. {_take(at)}"
            )
    return None


def wrapped(process: Process) -> str | None:
    """Return what is wrong if $LISTEN_PID names the server's parent, not the server; else None."""
    main = command_name(process.pid)
    for pid in sorted(process.members() - {process.pid}):
        name = command_name(pid)
        if name != main and environment(pid).get("LISTEN_PID") == str(process.pid):
            return (
                f"accepted no connection: $LISTEN_PID is {process.pid} ({main}), which started pid"
                f" {pid} ({name}) without exec, and a server takes its socket only if that is its"
                " own pid. Start the server with exec, or pass it the descriptor"
                f" {FIRST_DESCRIPTOR} ({{fd}} in [app] command)"
            )
    return None


def another_address(listeners: ListenerSet, process: Process) -> str | None:
    """Return what may be wrong with a process that listens elsewhere, or None. Raises OSError."""
    slots = {slot.inode for pool in listeners.pools.values() for slot in pool.slots}
    own = process.socket_inodes() - slots
    found = [
        f"[{one.local[0]}]:{one.local[1]}" if family == AF_INET6 else "{}:{}".format(*one.local)
        for family in (AF_INET, AF_INET6)
        for one in sockets(family, ANY_PORT, frozenset({TcpState.LISTEN}))
        if one.inode in own
    ]
    if not found:
        return None
    return (
        f"accepted no connection from descriptor {FIRST_DESCRIPTOR}, and listens on"
        f" {', '.join(sorted(found))}, which it bound itself. {_take(0)}"
    )
