"""`connect` readiness: a connection of ours was really accepted, by the candidate.

A TCP connect alone proves nothing: the kernel completes it into the queue of a socket that nobody
reads. So the kernel is asked who holds the server's end of it.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping

from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.gate import Gate
from wssupervisor.runtime.processes import Process
from wssupervisor.runtime.sockdiag import Endpoint, server_side
from wssupervisor.runtime.steering import Steering, probe_socket

LOOK_SECONDS = 0.01
SLOW_LOOK_SECONDS = 0.1
SLOW_AFTER_SECONDS = 2.0


async def accepted(
    gate: Gate, process: Process, slots: Mapping[str, SlotId], within: float
) -> str | None:
    """Wait until the process has accepted on each of its slots; None, or why it is not ready."""
    until = time.monotonic() + within
    for name, slot in slots.items():
        if not await _accepted_on(gate.steerings[name], process, slot, until):
            return (
                f"was not ready within {within:.3g}s: it accepted no connection on listener"
                f" {name!r}; does it serve the descriptor it is given, or a port of its own?"
            )
    return None


async def _accepted_on(steering: Steering, process: Process, slot: SlotId, until: float) -> bool:
    """Connect until the process has taken one: a slot that is shared gives some to others."""
    while time.monotonic() < until:
        with probe_socket(steering.pool) as (client, source):
            client.setblocking(False)
            with steering.probing(source, slot):
                if not await _connected(client, steering, until):
                    continue
            mine = await _taken(client, steering, source, process, until)
            if mine is not None:
                steering.accepted(source, slot)
            if mine:
                return True
    return False


async def _connected(client: socket.socket, steering: Steering, until: float) -> bool:
    target = (steering.pool.reachable_host, steering.pool.port)
    bound = max(0.0, until - time.monotonic())
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(client, target), bound)
    except (OSError, TimeoutError):
        await asyncio.sleep(LOOK_SECONDS)
        return False
    return True


async def _taken(
    client: socket.socket, steering: Steering, source: Endpoint, process: Process, until: float
) -> bool | None:
    """True once the process holds the other end, False when somebody else does; None: too late.

    A candidate that has closed it again has accepted it too.
    """
    began = time.monotonic()
    local = (steering.pool.reachable_host, steering.pool.port)
    while (now := time.monotonic()) < until:
        found = server_side(steering.pool.family, local, source)
        if found is None or _closed(client):
            return True
        if found.inode:
            return found.inode in process.socket_inodes()
        slow = now - began > SLOW_AFTER_SECONDS
        await asyncio.sleep(SLOW_LOOK_SECONDS if slow else LOOK_SECONDS)
    return None


def _closed(client: socket.socket) -> bool:
    """The other side has closed or reset it."""
    with contextlib.suppress(BlockingIOError):
        try:
            return client.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True
    return False
