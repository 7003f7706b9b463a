"""Readiness by a probe: a connection of ours was really accepted, and answered, by the candidate.

A TCP connect alone proves nothing: the kernel completes it into the queue of a socket that nobody
reads. So the kernel is asked who holds the server's end of it.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from wssupervisor.fleet.actions import Probe
from wssupervisor.fleet.model import Check, SlotId
from wssupervisor.runtime.gate import Gate
from wssupervisor.runtime.helper import ask_child, module
from wssupervisor.runtime.processes import Process
from wssupervisor.runtime.self_bound import another_address, same_address
from wssupervisor.runtime.sockdiag import Endpoint, server_side
from wssupervisor.runtime.steering import CONNECT_SECONDS, Steering, probe_socket

LOOK_SECONDS = 0.01
SLOW_LOOK_SECONDS = 0.1
SLOW_AFTER_SECONDS = 2.0
SUSPECT_SECONDS = 1.0
"""After so long, and again and again, a look where else it may listen."""
ANSWER_SECONDS = 5.0
"""For one answer; one that does not come is asked for again, until the worker's time is over."""
ASK_AGAIN_SECONDS = 0.2
CHILD_SECONDS = 5.0
"""For the child that asks: to start, and to end."""


class NeverReady(Exception):
    """It will not be ready, however long it is given; completes: it ..."""


async def ready(gate: Gate, process: Process, probe: Probe, tried: Callable[[str], None]) -> None:
    """Return when the process is ready, as the probe has it; until then, or cancelled, wait.

    `tried` is told what was wrong with each try of a check, and where else the process listens.
    Raises NeverReady, SteeringRefused, ListenFailed, OSError.
    """

    def suspect() -> None:
        if wrong := same_address(gate, process, probe.slots.values()):
            raise NeverReady(wrong)
        if elsewhere := another_address(gate, process):
            tried(elsewhere)

    for name, slot in probe.slots.items():
        steering = gate.steerings[name]
        if probe.check is not None and probe.check.listener == name:
            await _checked(steering, process, slot, probe.check, tried, suspect)
            continue
        # The kernel has no event for an accept() elsewhere.
        while not await accepts(steering, process, slot, suspect):  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


async def accepts(
    steering: Steering, process: Process, slot: SlotId, suspect: Callable[[], None]
) -> bool:
    """One try: False where it cannot be reached, or somebody else who shares the slot took it."""
    async with _connection(steering, process, slot, suspect) as client:
        return client is not None


@asynccontextmanager
async def _connection(
    steering: Steering, process: Process, slot: SlotId, suspect: Callable[[], None]
) -> AsyncIterator[socket.socket | None]:
    """One that the process has accepted from its slot; None as `accepts` says."""
    with probe_socket(steering.pool) as (client, source):
        client.setblocking(False)
        with steering.probing(source, slot):
            connected = await _connected(client, steering)
        mine = connected and await _taken(client, steering, source, process, suspect)
        if connected:
            steering.accepted(source, slot)
        yield client if mine else None


async def _checked(
    steering: Steering,
    process: Process,
    slot: SlotId,
    check: Check,
    tried: Callable[[str], None],
    suspect: Callable[[], None],
) -> None:
    """Ask again and again, each time over a connection of its own, until the answer is right."""
    first = True
    while True:
        async with _connection(steering, process, slot, suspect) as client:
            if client is None:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if first:
                tried("has accepted a connection, and not answered yet")
                first = False
            wrong = await _asked(client, steering, check)
        if wrong is None:
            return
        tried(wrong)
        await asyncio.sleep(ASK_AGAIN_SECONDS)


async def _asked(client: socket.socket, steering: Steering, check: Check) -> str | None:
    """What a child process has to say of the worker's answer; None where it is right."""
    question = {
        "by": check.by.value,
        "host": steering.pool.reachable_host,
        "port": steering.pool.port,
        "path": check.path,
        "seconds": ANSWER_SECONDS,
        "send": check.send,
        "expect": check.expect,
    }
    client.setblocking(True)
    said = await ask_child(
        module("wssupervisor.probe", json.dumps(question)),
        client.fileno(),
        within=ANSWER_SECONDS + CHILD_SECONDS,
    )
    if said is None:
        return "was asked by a probe that did not end"
    return said or None


async def _connected(client: socket.socket, steering: Steering) -> bool:
    target = (steering.pool.reachable_host, steering.pool.port)
    connecting = asyncio.get_running_loop().sock_connect(client, target)
    try:
        await asyncio.wait_for(connecting, CONNECT_SECONDS)
    except (OSError, TimeoutError):
        return False
    return True


async def _taken(
    client: socket.socket,
    steering: Steering,
    source: Endpoint,
    process: Process,
    suspect: Callable[[], None],
) -> bool:
    """Once somebody holds the other end: is it this process?

    A candidate that has closed it again has accepted it too. One that lets us wait is looked at.
    """
    began = time.monotonic()
    suspect_at = began + SUSPECT_SECONDS
    local = (steering.pool.reachable_host, steering.pool.port)
    while True:
        found = server_side(steering.pool.family, local, source)
        if found is None or _closed(client):
            return True
        if found.inode:
            return process.took(found.inode)
        if time.monotonic() >= suspect_at:
            suspect()
            suspect_at += SUSPECT_SECONDS
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
