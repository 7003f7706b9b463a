"""Processes left of a worker whose main process has ended: do they still serve clients?"""

import asyncio
import contextlib
import os
import socket

from wssupervisor.fleet.actions import JudgeLeftover
from wssupervisor.fleet.model import SlotId
from wssupervisor.foreign import CLIENTS
from wssupervisor.runtime.kernel.pidfd import share
from wssupervisor.runtime.kernel.procfs import socket_descriptors
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.workers import readiness
from wssupervisor.runtime.workers.process import Process
from wssupervisor.runtime.workers.serving import Acceptor

SECONDS = {Acceptor.MAIN: 0.3, None: 1.0, Acceptor.OTHERS: 10.0}
"""How long to wait for the tree to accept, by which of its processes was seen to accept before.

A process that accepts takes a waiting connection within milliseconds, unless it is busy. Clients of
a dead main process hang for this long.
"""
LOOK_SECONDS = 0.05
ACCEPTS = ("inet_csk_accept", "skb_wait_for_more_packets")
"""Kernel functions in which accept() sleeps, on TCP and on AF_UNIX sockets (/proc/PID/wchan)."""


async def serves(listeners: ListenerSet, process: Process, action: JudgeLeftover) -> bool:
    """Whether a process of the tree accepts on its slots, or accepted connections it still holds.

    Raises WssError, OSError.
    """
    held = process.socket_inodes()
    listens = held & set(action.slots.values())
    if process.hidden():
        listens = set(action.slots.values())  # assume that it listens, and probe it
    others_accept = process.serving.acceptor is Acceptor.OTHERS
    if others_accept and (action.drain_signalled or not listens):
        return not held.isdisjoint(listeners.connection_inodes())
    if not listens:
        return False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS[process.serving.acceptor]):
            while process.members():
                for name, slot in action.slots.items():
                    if slot in listens and await _accepts(listeners, process, name, slot):
                        return True
                await asyncio.sleep(LOOK_SECONDS)
    _take_back(listeners, action)
    return False


async def _accepts(listeners: ListenerSet, process: Process, name: str, slot: SlotId) -> bool:
    pool = listeners.pools[name]
    if pool.why_shared is not None or name not in listeners.steerings:
        # Any worker could take a probe, so look for a process that waits for a connection.
        return any(_waits(pid, slot) for pid in process.members())
    return await readiness.accepts(
        listeners, listeners.steerings[name], process, slot, lambda: None
    )


def _take_back(listeners: ListenerSet, action: JudgeLeftover) -> None:
    """Take the slots back; otherwise the probe waiting in a slot would need a sweeper."""
    for name, slot in action.slots.items():
        steering = listeners.steerings.get(name)
        if steering is not None and slot not in steering.weights:
            steering.take_back({slot})


def _waits(pid: int, slot: SlotId) -> bool:
    """Whether a thread of the process sleeps until a connection arrives on this socket."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError:
        return False
    return any(_thread_waits(pid, thread, slot) for thread in threads)


def _thread_waits(pid: int, thread: str, slot: SlotId) -> bool:
    place = _read(f"/proc/{pid}/task/{thread}/wchan")
    arguments = _read(f"/proc/{pid}/task/{thread}/syscall").split()
    first = int(arguments[1], 16) if len(arguments) > 1 else None
    own = socket_descriptors(pid)
    if any(name in place for name in ACCEPTS):
        return first is None or own.get(slot) == first
    if "epoll" in place or "ep_poll" in place:
        numbers = os.listdir(f"/proc/{pid}/fdinfo") if first is None else [str(first)]  # noqa: PTH208
        return any(_watches(pid, number, slot) for number in numbers)
    return ("poll" in place or "select" in place) and slot in own


def _watches(pid: int, number: str, slot: SlotId) -> bool:
    """Whether an epoll descriptor has the socket among its targets (proc_pid_fdinfo(5))."""
    lines = _read(f"/proc/{pid}/fdinfo/{number}").splitlines()
    return any(line.startswith("tfd:") and f" ino:{slot:x} " in f"{line} " for line in lines)


def _read(path: str) -> str:
    """The file's text; empty if the process has ended or cannot be inspected."""
    try:
        with open(path) as file:  # noqa: PTH123 - a third of pathlib's cost
            return file.read()
    except OSError:
        return ""


def free_clients(listeners: ListenerSet, process: Process) -> int:
    """End all connections of the tree, so that their clients reconnect; return how many.

    A forked helper may survive SIGTERM: it has inherited the main process's handlers. A connection
    whose descriptor the supervisor may not duplicate ends with the process that holds it.
    """
    connections = listeners.connection_inodes()
    freed: set[int] = set()
    for pid in process.members():
        for inode, number in socket_descriptors(pid).items():
            if inode not in connections or inode in freed:
                continue
            with contextlib.suppress(OSError):
                connection = socket.socket(fileno=share(pid, number))
                freed.add(inode)
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                finally:  # ours may be the last descriptor
                    CLIENTS.close([connection.detach()])
    return len(freed)
