"""Readiness by a probe: the worker accepted a connection of ours, and answered it.

A connect alone proves nothing (docs/internals/platform.md#a-connect-proves-no-accept), so the
kernel is asked which process holds the server's end of the connection.
"""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum

import structlog

from wssupervisor.errors import Unreachable
from wssupervisor.fleet.actions import Probe
from wssupervisor.fleet.model import Check, SlotId
from wssupervisor.probe_verdict import GOOD, WRONG
from wssupervisor.runtime.kernel.inet_diag import Endpoint, TcpState
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.listeners.probe_socket import CONNECT_SECONDS, probe_socket
from wssupervisor.runtime.listeners.steering import Steering
from wssupervisor.runtime.listeners.tcp_pool import Slot
from wssupervisor.runtime.workers.bound_itself import another_address, same_address, wrapped
from wssupervisor.runtime.workers.helper import ChildOutput, ask_child, module
from wssupervisor.runtime.workers.process import Process

log = structlog.get_logger()

LOOK_SECONDS = 0.01
SLOW_LOOK_SECONDS = 0.1
SLOW_AFTER_SECONDS = 2.0
SUSPECT_SECONDS = 1.0
"""How often to check whether an unready worker listens elsewhere."""
ANSWER_SECONDS = 5.0
"""Limit for one answer. Then the probe asks again, until the worker's own limit."""
RETRY_CHECK_SECONDS = 0.2
CHILD_SECONDS = 5.0
"""Extra time for the child that asks to start and to end."""


class NeverReady(Exception):
    """The worker cannot become ready, no matter how long the wait. The text completes "it ..."."""


async def ready(
    listeners: ListenerSet, process: Process, probe: Probe, tried: Callable[[str], None]
) -> None:
    """Wait until the process is ready by the standard of the probe, or until cancelled.

    Calls `tried` with what was wrong with each attempt of a check, and where else the process
    listens. Raises NeverReady, SteeringRefused, ListenFailed, OSError.
    """

    def suspect() -> None:
        if wrong := same_address(listeners, process, probe.slots.values()):
            raise NeverReady(wrong)
        if elsewhere := another_address(listeners, process):
            tried(elsewhere)
        elif by_wrapper := wrapped(process):
            tried(by_wrapper)

    for name, slot in probe.slots.items():
        if unrestored := listeners.unrestored.get(slot):
            tried(unrestored)
        check = None if probe.check is None or probe.check.listener != name else probe.check
        try:
            await _probed(listeners, process, name, slot, check, tried, suspect)
        except Unreachable as error:  # no probe can be sent, and the worker is not to blame
            log.warning("worker is not probed", listener=name, pid=process.pid, why=str(error))


async def _probed(
    listeners: ListenerSet,
    process: Process,
    name: str,
    slot: SlotId,
    check: Check | None,
    tried: Callable[[str], None],
    suspect: Callable[[], None],
) -> None:
    """Probe one listener until the process is ready. Raises what `ready` does, and Unreachable."""
    steering = listeners.steerings[name]
    if check is not None:
        await _checked(steering, process, slot, check, tried, suspect)
        return
    # The kernel has no event for an accept() in another process.
    while not await accepts(listeners, steering, process, slot, suspect):  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)


async def accepts(
    listeners: ListenerSet,
    steering: Steering,
    process: Process,
    slot: SlotId,
    suspect: Callable[[], None],
) -> bool:
    """Probe once; False if the probe did not arrive, or another worker on the slot took it."""
    async with _connection(steering, process, slot, suspect) as taken:
        if taken is None:
            return False
        if taken.inode:
            queued = steering.pool.by_inode(slot).queued
            listeners.held_probes.hold(taken.client.dup(), process, queued)
    return True


@dataclass(frozen=True, slots=True)
class Taken:
    """A connection of ours that the process has accepted; `inode` 0: it has closed it again."""

    client: socket.socket
    inode: int


@asynccontextmanager
async def _connection(
    steering: Steering, process: Process, slot: SlotId, suspect: Callable[[], None]
) -> AsyncIterator[Taken | None]:
    """A connection that the process has accepted from its slot; None if `accepts` is False."""
    with probe_socket(steering.pool) as (client, source):
        client.setblocking(False)
        listening = steering.pool.by_inode(slot)
        listening.show_clients()
        inode: int | None = None
        with steering.probing(source, slot):
            connected = await _connected(client, steering)
        if connected:
            inode = await _taken(
                client,
                steering,
                source,
                process,
                suspect,
                listening,
            )
            steering.accepted(source, slot)
        yield None if inode is None else Taken(client, inode)


async def _checked(
    steering: Steering,
    process: Process,
    slot: SlotId,
    check: Check,
    tried: Callable[[str], None],
    suspect: Callable[[], None],
) -> None:
    """Ask repeatedly, each time over a new connection, until the answer is right."""
    first = True
    while True:
        async with _connection(steering, process, slot, suspect) as taken:
            if taken is None:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if first:
                tried("has accepted a connection but not answered yet")
                first = False
            wrong = await _asked(taken.client, steering, check)
        if wrong is None:
            return
        tried(wrong)
        await asyncio.sleep(RETRY_CHECK_SECONDS)


async def _asked(client: socket.socket, steering: Steering, check: Check) -> str | None:
    """Have a child process check the worker's answer; what is wrong with it, or None."""
    question = {
        "by": check.by.value,
        "address": steering.pool.reachable_host,
        "port": steering.pool.port,
        "path": check.path,
        "seconds": ANSWER_SECONDS,
        "send": check.send,
        "expect": check.expect,
        "host": check.host,
        "headers": dict(check.headers),
        "subprotocol": check.subprotocol,
    }
    client.setblocking(True)
    output = await ask_child(
        module("wssupervisor.probe"),
        client.fileno(),
        within=ANSWER_SECONDS + CHILD_SECONDS,
        question=json.dumps(question),
    )
    return judged(output)


def judged(output: ChildOutput | None) -> str | None:
    """Return what is wrong; None only if the probe reported success and exited with status 0."""
    if output is None:
        return "could not be checked: the probe did not end"
    if output.endless:
        return "could not be checked: the probe wrote too much"
    if output.status != 0:
        how = "was killed" if output.status is None else f"failed with status {output.status}"
        return f"could not be checked: the probe {how}"
    if output.text == GOOD:
        return None
    if output.text.startswith(WRONG):
        return output.text.removeprefix(WRONG)
    return "could not be checked: the probe gave no verdict"


async def _connected(client: socket.socket, steering: Steering) -> bool:
    target = steering.pool.reach.target
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(client, target)
    except (OSError, TimeoutError):
        return False
    return True


async def _taken(
    client: socket.socket,
    steering: Steering,
    source: Endpoint,
    process: Process,
    suspect: Callable[[], None],
    listening: Slot,
) -> int | None:
    """The inode of the server's end, once the process holds it; None: it never will.

    0: the process has closed it again, as sent bytes, an end or a reset show. Calls `suspect` while
    the process does not accept.
    """
    unbroken = listening.times_down
    began = time.monotonic()
    suspect_at = began + SUSPECT_SECONDS
    while True:
        found = steering.pool.own.remember(source)
        if found is not None and found.inode:
            return found.inode if process.took(found.inode) else None
        received = _received(client)
        if received is Received.DATA or (found is not None and found.state in CLOSED_BY_SERVER):
            return 0
        if received is Received.RESET:
            return 0 if listening.reset_no_client(unbroken) else None
        if found is None:
            return None  # the kernel dropped the handshake: the queue was full
        if listening.defers():  # set since we connected: the worker would never see us
            return None
        if time.monotonic() >= suspect_at:
            suspect()
            suspect_at += SUSPECT_SECONDS
        slow = time.monotonic() - began > SLOW_AFTER_SECONDS
        await asyncio.sleep(SLOW_LOOK_SECONDS if slow else LOOK_SECONDS)


class Received(Enum):
    """`DATA`: bytes or an end, which only a server that accepted can send."""

    NOTHING = "nothing"
    DATA = "data"
    RESET = "reset"


CLOSED_BY_SERVER = frozenset(
    {
        TcpState.FIN_WAIT1,
        TcpState.FIN_WAIT2,
        TcpState.CLOSING,
        TcpState.LAST_ACK,
        TcpState.TIME_WAIT,
    }
)


def _received(client: socket.socket) -> Received:
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return Received.NOTHING
    except ConnectionError:
        return Received.RESET
    return Received.DATA
