"""The worker's end of the channel: datagrams to and from the supervisor, on the event loop."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from wssupervisor.worker import protocol
from wssupervisor.worker.protocol import FromSupervisor, FromWorker

VARIABLE = "WSSUPERVISOR_CHANNEL"


class Link:
    """Owns the socket. If the supervisor has died, messages are dropped and nothing fails."""

    def __init__(self, sock: socket.socket, hear: Callable[[FromSupervisor], None]) -> None:
        self._socket = sock
        self._hear = hear
        sock.setblocking(False)
        sock.set_inheritable(False)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._read)

    @classmethod
    def from_environment(cls, hear: Callable[[FromSupervisor], None]) -> "Link | None":
        """Connect to the supervisor that started this process. None without one."""
        number = os.environ.pop(VARIABLE, "")
        if not number.isdecimal():
            return None
        try:
            sock = socket.socket(fileno=int(number))
        except OSError:
            return None
        if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_SEQPACKET:
            sock.detach()  # the number now belongs to another descriptor
            return None
        return cls(sock, hear)

    def say(self, message: FromWorker) -> None:
        """Send the message, or drop it if the supervisor is not reading."""
        with contextlib.suppress(OSError):
            self._socket.send(protocol.encode(message))

    def _read(self) -> None:
        try:
            data = self._socket.recv(protocol.MESSAGE_BYTES + 1)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        with contextlib.suppress(protocol.Bad):
            message = protocol.from_supervisor(data)
            if message is not None:
                self._hear(message)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
