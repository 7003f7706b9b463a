"""Descriptors that others send to us, or that we share with others: closing one may take long.

The last close of a socket waits as long as its sender wants (SO_LINGER), that of a file on FUSE
until its server answers, perhaps for ever. So none of them is closed on the loop. A socket that
others send to is such a descriptor itself: what it holds unread is closed with it. And a message
that is read without room for its descriptors has them closed within that read.
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
"""Linux 6.16: off, whoever sends descriptors gets EPERM."""
SCM_MAX_FD = 253
"""No message has more."""
ROOM = socket.CMSG_SPACE(4 * SCM_MAX_FD)
WAITING_MAX = 2 * SCM_MAX_FD
"""While so many wait, no more are to be received."""
CLIENTS_THREADS = 8


class Closer:
    """Closes in threads of its own, which last as long as there is something to close."""

    def __init__(self, threads: int = 1) -> None:
        self._most = threads
        self._threads = 0
        self._waiting: deque[int] = deque()
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= WAITING_MAX

    def close(self, descriptors: Iterable[int]) -> None:
        """Owns them from here on. Never blocks, never raises."""
        with self._lock:
            self._waiting.extend(descriptors)
            if not self._waiting or self._threads >= self._most:
                return
            self._threads += 1
        try:
            quiet_thread.start(self._run, "closer")
        except RuntimeError:  # no more threads: they wait for the next call
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
"""For what clients of our own sockets send: several threads, as one client must not hold up all."""


class Received(socket.socket):
    """An accepted AF_UNIX connection, whose other end may send descriptors: nobody wants them."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data, control, _, _ = self.recvmsg(size, ROOM, flags | socket.MSG_CMSG_CLOEXEC)
        CLIENTS.close(descriptors_in(control))
        return data

    def close(self) -> None:
        if self.fileno() >= 0:
            CLIENTS.close([self.detach()])


def received(accepted: socket.socket) -> socket.socket:
    """The same connection, in whose reads and close nothing blocks."""
    if accepted.family != socket.AF_UNIX:
        return accepted
    found = Received(fileno=accepted.detach())
    found.setblocking(False)
    return found


def close_beside(sock: socket.socket) -> None:
    """A socket that others send to, or that waits for one of theirs; closed already is fine."""
    if sock.fileno() >= 0:
        CLIENTS.close([sock.detach()])


def descriptors_in(control: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """What came with a message; the caller owns them."""
    return [
        descriptor
        for level, kind, data in control
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
        for (descriptor,) in struct.iter_unpack("=i", data[: len(data) // 4 * 4])
    ]


def refuse_descriptors(sock: socket.socket) -> None:
    """Let nobody send any here, nor to what is accepted here; where the kernel knows how."""
    if sock.family == socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
