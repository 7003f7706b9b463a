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
from wssupervisor.runtime.steering import CONNECT_SECONDS, Steering, probe_socket

LOOK_SECONDS = 0.01
SLOW_LOOK_SECONDS = 0.1
SLOW_AFTER_SECONDS = 2.0


async def accepted(gate: Gate, process: Process, slots: Mapping[str, SlotId]) -> None:
    """Return when the process has accepted on each of its slots; until then, or cancelled, wait.

    Raises SteeringRefused, ListenFailed, OSError.
    """
    for name, slot in slots.items():
        # The kernel has no event for an accept() elsewhere.
        while not await _accepts(gate.steerings[name], process, slot):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


async def _accepts(steering: Steering, process: Process, slot: SlotId) -> bool:
    """One try: False where it cannot be reached, or somebody else who shares the slot took it."""
    with probe_socket(steering.pool) as (client, source):
        client.setblocking(False)
        with steering.probing(source, slot):
            if not await _connected(client, steering):
                return False
        mine = await _taken(client, steering, source, process)
        steering.accepted(source, slot)
        return mine


async def _connected(client: socket.socket, steering: Steering) -> bool:
    target = (steering.pool.reachable_host, steering.pool.port)
    connecting = asyncio.get_running_loop().sock_connect(client, target)
    try:
        await asyncio.wait_for(connecting, CONNECT_SECONDS)
    except (OSError, TimeoutError):
        return False
    return True


async def _taken(
    client: socket.socket, steering: Steering, source: Endpoint, process: Process
) -> bool:
    """Once somebody holds the other end: is it this process?

    A candidate that has closed it again has accepted it too.
    """
    began = time.monotonic()
    local = (steering.pool.reachable_host, steering.pool.port)
    while True:
        found = server_side(steering.pool.family, local, source)
        if found is None or _closed(client):
            return True
        if found.inode:
            return found.inode in process.socket_inodes()
        slow = time.monotonic() - began > SLOW_AFTER_SECONDS
        await asyncio.sleep(SLOW_LOOK_SECONDS if slow else LOOK_SECONDS)


def _closed(client: socket.socket) -> bool:
    """The other side has closed or reset it."""
    with contextlib.suppress(BlockingIOError):
        try:
            return client.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True
    return False
