"""The worker's end of the channel: lines to and from the supervisor, on the event loop."""

import array
import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable

from wssupervisor.worker import protocol
from wssupervisor.worker.lines import DESCRIPTORS_MAX, Line, Lines
from wssupervisor.worker.protocol import FromSupervisor, FromWorker

VARIABLE = "WSSUPERVISOR_CHANNEL"
SUPERVISOR = "WSSUPERVISOR_SUPERVISOR"
READ_BYTES = 64 * 1024
ROOM = socket.CMSG_SPACE(DESCRIPTORS_MAX * array.array("i").itemsize)

Hear = Callable[[FromSupervisor, list[int]], None]
"""Receives a message and its descriptors, and owns those that it removes from the list."""


class Link:
    """Owns the socket. If the supervisor has died, messages are dropped and nothing fails."""

    def __init__(self, sock: socket.socket, hear: Hear) -> None:
        self._socket = sock
        self._hear = hear
        self._lines = Lines()
        self._unsent = b""
        """The rest of a line that the supervisor had no room for."""
        sock.setblocking(False)
        sock.set_inheritable(False)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read)

    @classmethod
    def from_environment(cls, hear: Hear) -> "Link | None":
        """Connect to the supervisor that started this process. None without one."""
        number = os.environ.pop(VARIABLE, "")
        if not number.isdecimal():
            return None
        try:
            sock = socket.socket(fileno=int(number))
        except OSError:
            return None
        if not _is_channel(sock):
            sock.detach()  # the number now belongs to another descriptor
            return None
        return cls(sock, hear)

    def say(self, message: FromWorker) -> bool:
        """Send the message. False: it was dropped, because the supervisor is not reading."""
        if self._unsent:
            return False
        line = protocol.encode(message)
        try:
            sent = self._socket.send(line)
        except OSError:
            return False
        if sent < len(line):
            self._unsent = line[sent:]
            asyncio.get_running_loop().add_writer(self._socket.fileno(), self._send_rest)
        return True

    def _send_rest(self) -> None:
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._unsent = b""  # the supervisor has closed the channel
        if not self._unsent:
            asyncio.get_running_loop().remove_writer(self._socket.fileno())

    def _read(self) -> None:
        try:
            data, control, flags, _ = self._socket.recvmsg(
                READ_BYTES, ROOM, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, ConnectionResetError):
            return  # after a reset, what the supervisor had sent can still be read
        except OSError:
            data, control, flags = b"", [], 0
        descriptors = [
            descriptor
            for level, kind, packed in control
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            for (descriptor,) in struct.iter_unpack("=i", packed[: len(packed) // 4 * 4])
        ]
        if flags & socket.MSG_CTRUNC:  # some are lost: the others are of no use
            _close(descriptors)
            descriptors = []
        if not data:
            self.close()
        for line in self._lines.feed(data, descriptors):
            self._take_in(line)

    def _take_in(self, line: Line) -> None:
        """Pass a line on. Ignores an incomplete one, which a supervisor that died had begun."""
        descriptors = list(line.descriptors)
        try:
            if (message := protocol.from_supervisor(line.data)) is not None:
                self._hear(message, descriptors)
        except protocol.Bad:
            pass
        except Exception as error:  # noqa: BLE001 - the next line must still be heard
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a message of the supervisor failed", "exception": error}
            )
        finally:
            _close(descriptors)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()


def _is_channel(sock: socket.socket) -> bool:
    """Whether the supervisor made this socket, as far as this process can see.

    In a child of the worker the number of the variable may belong to a socket of its own, such as
    the pair with which an event loop wakes itself.
    """
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        return False
    try:
        sock.getpeername()
    except OSError:  # not connected: perhaps a slot, which the supervisor made as well
        return False
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=3i"))
    pid, _, _ = struct.unpack("=3i", packed)
    # 0: of another pid namespace
    return pid == 0 or str(pid) == os.environ.get(SUPERVISOR, "").partition(":")[0]


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
