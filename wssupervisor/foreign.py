"""Descriptors that others send to us, or share with us: closing one may take long.

The last close of a socket waits as long as its sender wants (SO_LINGER). The last close of a file
on FUSE waits until its server answers, perhaps forever. So none of them is closed on the loop. A
socket that others send to is such a descriptor itself, because its unread descriptors are closed
with it. And a read without room for the descriptors of a message closes them within that read.
"""

import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from wssupervisor import quiet_thread

SO_PASSRIGHTS = 83
"""Since Linux 6.16. If it is off, a sender of descriptors gets EPERM."""
SCM_MAX_FD = 253
"""The maximum in one message."""
ROOM = socket.CMSG_SPACE(4 * SCM_MAX_FD)
WAITING_MAX = 2 * SCM_MAX_FD
"""While this many wait, no more should be received."""
CLIENTS_THREADS = 8


class Closer:
    """Closes descriptors in its own threads, which end when nothing is left to close."""

    def __init__(self, threads: int = 1) -> None:
        self._most = threads
        self._threads = 0
        self._waiting: deque[int] = deque()
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= WAITING_MAX

    def close(self, descriptors: Iterable[int]) -> None:
        """Take over and close the descriptors. Never blocks, never raises."""
        with self._lock:
            self._waiting.extend(descriptors)
            if not self._waiting or self._threads >= self._most:
                return
            self._threads += 1
        try:
            quiet_thread.start(self._run, "closer")
        except RuntimeError:  # no more threads: the descriptors wait for the next call
            with self._lock:
                self._threads -= 1

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                descriptor = self._waiting.popleft()
            with suppress(OSError):
                os.close(descriptor)


CLIENTS = Closer(CLIENTS_THREADS)
"""For descriptors from clients of our sockets. Several threads, so that one cannot block all."""


class Received(socket.socket):
    """An accepted AF_UNIX connection whose client may send descriptors, which are discarded."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data, control, _, _ = self.recvmsg(size, ROOM, flags | socket.MSG_CMSG_CLOEXEC)
        CLIENTS.close(descriptors_in(control))
        return data

    def close(self) -> None:
        if self.fileno() >= 0:
            CLIENTS.close([self.detach()])


def received(accepted: socket.socket) -> socket.socket:
    """Return the same connection, with reads and a close that never block."""
    if accepted.family != socket.AF_UNIX:
        return accepted
    found = Received(fileno=accepted.detach())
    found.setblocking(False)
    return found


def close_beside(sock: socket.socket) -> None:
    """Close, in a thread, a socket that others send to. It may be closed already."""
    if sock.fileno() >= 0:
        CLIENTS.close([sock.detach()])


def descriptors_in(control: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors of a message. The caller owns them."""
    return [
        descriptor
        for level, kind, data in control
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
        for (descriptor,) in struct.iter_unpack("=i", data[: len(data) // 4 * 4])
    ]


def refuse_descriptors(sock: socket.socket) -> None:
    """Refuse descriptors here and on accepted connections, if the kernel supports it."""
    if sock.family == socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
