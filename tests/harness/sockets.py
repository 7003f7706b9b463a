"""Plays systemd's part: holds the slots of a unit open over starts and stops of a service."""

import fcntl
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

FIRST_FREE = 200  # above where descriptors are placed in the started program
BACKLOG = 4096
START = Path(__file__).parent / "with_sockets.py"


class HeldSockets:
    """Listening SO_REUSEPORT sockets by name, as a socket unit with ReusePort=yes has them."""

    def __init__(
        self, addresses: dict[str, tuple[str, int]], slots: int, *, reuse_port: bool = True
    ) -> None:
        self._sockets: list[socket.socket] = []
        self._names: list[str] = []
        for name, address in addresses.items():
            for _ in range(slots):
                sock = socket.socket()
                self._sockets.append(sock)
                self._names.append(name)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
                sock.setblocking(False)
                sock.bind(address)
                sock.listen(BACKLOG)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for sock in self._sockets:
            sock.close()

    def named(self) -> list[tuple[str, int]]:
        """Name and descriptor of each."""
        return [
            (name, sock.fileno()) for name, sock in zip(self._names, self._sockets, strict=True)
        ]

    def inodes(self) -> set[int]:
        return {os.fstat(sock.fileno()).st_ino for sock in self._sockets}

    def wrap(self, command: list[str]) -> tuple[list[str], list[int]]:
        """The command that starts `command` with these sockets, and the descriptors to pass on.

        The caller closes the descriptors when the process has been started.
        """
        passed = [
            fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD_CLOEXEC, FIRST_FREE) for sock in self._sockets
        ]
        fds = ",".join(str(fd) for fd in passed)
        return [sys.executable, "-S", str(START), fds, ":".join(self._names), *command], passed
