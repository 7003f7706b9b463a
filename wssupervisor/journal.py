"""The journal's native protocol: one datagram per entry (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
SEND_SECONDS = 1.0
"""How long a send may wait for a busy journal."""
TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def fields(values: Mapping[str, str]) -> bytes:
    """Encode the fields of an entry."""
    return b"".join(_field(name, value) for name, value in values.items())


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)


class Journal:
    """Reconnects after each failure: a restarted journal listens on another socket."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def send(self, entry: bytes) -> None:
        """Send one encoded entry. Raises OSError if the journal cannot be reached."""
        try:
            sock = self._socket or self._connect()
            try:
                sock.send(entry)
            except OSError as error:
                if error.errno not in TOO_LARGE:
                    raise
                _send_in_file(sock, entry)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.settimeout(SEND_SECONDS)
            made.connect(SOCKET)
        except OSError:
            made.close()
            raise
        self._socket = made
        return made


def _send_in_file(sock: socket.socket, entry: bytes) -> None:
    memfd = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(entry)
        while view:
            view = view[os.write(memfd, view) :]
        fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, SEALS)
        socket.send_fds(sock, [b""], [memfd])
    finally:
        with contextlib.suppress(OSError):
            os.close(memfd)
