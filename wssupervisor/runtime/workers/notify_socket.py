"""sd_notify from one worker: a socket of its own, and a strict parser for its messages."""

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.config.model import UNIX_PATH_BYTES
from wssupervisor.control.paths import let_pass
from wssupervisor.control.socket_file import bind, identity, unix_socket
from wssupervisor.foreign import ROOM, Closer, descriptors_in
from wssupervisor.runtime.kernel.descriptors import inherited

MESSAGE_BYTES = 4096
STATUS_CHARS = 200
MESSAGES_PER_LOOK = 64
_CREDENTIALS = struct.Struct("=iII")


@dataclass(frozen=True, slots=True)
class NotifySocketState:
    descriptor: int
    address: str
    path: str | None


@dataclass(frozen=True, slots=True)
class Notification:
    """The assignments that have an effect; others are ignored, as sd_notify(3) requires."""

    ready: bool = False
    stopping: bool = False
    watchdog: bool = False
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """A message that is ignored; `reason` is one sentence."""

    reason: str


def parse(data: bytes) -> Notification | Malformed:
    """Parse one datagram of newline-separated NAME=value assignments."""
    if len(data) > MESSAGE_BYTES:
        return Malformed(f"longer than {MESSAGE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return Malformed("not UTF-8")
    if "\0" in text:
        return Malformed("contains a NUL byte")
    values: dict[str, str] = {}
    for line in text.split("\n"):
        if not line:
            continue
        name, equals, value = line.partition("=")
        if not equals or not name:
            return Malformed(f"{line[:40]!r} is not NAME=value")
        values[name] = value
    for name in ("READY", "STOPPING", "WATCHDOG"):
        if name in values and values[name] not in ("1", "trigger"):
            return Malformed(f"{name}={values[name][:20]!r}: only {name}=1 is known")
    status = values.get("STATUS")
    return Notification(
        ready=values.get("READY") == "1",
        stopping=values.get("STOPPING") == "1",
        watchdog=values.get("WATCHDOG") == "1",
        status=None if status is None else printable(status[:STATUS_CHARS]),
    )


def printable(text: str) -> str:
    """A worker's text without terminal control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)


class NotifySocket:
    """A socket file, like systemd's own: puma's sd_notify, for one, knows no abstract addresses.

    Without a path, or if the path is too long, the address is abstract. The sender of each message
    is checked: a worker started as root may have changed its user, and is identified by its pid.
    """

    def __init__(self, sock: socket.socket, address: str, path: str | None) -> None:
        self._socket = sock
        self._closer = Closer()
        self._path = path
        self._file = None if path is None else identity(path)
        self.address = address
        """The worker's value of NOTIFY_SOCKET."""

    @classmethod
    def create(cls, path: str | None) -> "NotifySocket":
        """Bind `path`, after removing what a dead supervisor left there. Raises OSError."""
        if path is not None and len(os.fsencode(path)) > UNIX_PATH_BYTES:
            path = None
        if path is not None and os.geteuid() == 0:
            let_pass(Path(path).parent)
        sock = _bound("" if path is None else path)
        if path is None:
            return cls(sock, "@" + sock.getsockname()[1:].decode("ascii"), None)
        return cls(sock, path, path)

    def save(self) -> NotifySocketState:
        return NotifySocketState(self.fileno(), self.address, self._path)

    @classmethod
    def restore(cls, state: NotifySocketState) -> "NotifySocket":
        return cls(inherited(state.descriptor), state.address, state.path)

    def is_lost(self) -> bool:
        """Whether its file was deleted, so that its worker cannot reach us. Raises OSError."""
        return self._path is not None and identity(self._path) != self._file

    def made_again(self) -> "NotifySocket":
        """A new socket at the same path, which its worker sends to. Raises OSError."""
        assert self._path is not None
        return type(self)(_bound(self._path), self.address, self._path)

    def abandon(self) -> None:
        """Close the socket, and leave the file at its path."""
        if self._socket.fileno() >= 0:
            self._closer.close([self._socket.detach()])

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def is_deaf(self) -> bool:
        """Whether receiving has paused: too many received descriptors are not closed yet."""
        return self._closer.is_full

    def receive(self, ours: Callable[[int], bool]) -> list[Notification | Malformed]:
        """The messages since the last look, at most MESSAGES_PER_LOOK; never blocks.

        `ours`: whether a pid is the worker's; called for senders of another user.
        """
        found: list[Notification | Malformed] = []
        space = socket.CMSG_SPACE(_CREDENTIALS.size) + ROOM
        strangers = 0
        for _ in range(MESSAGES_PER_LOOK):
            if self.is_deaf:
                break
            try:
                data, control, _, _ = self._socket.recvmsg(
                    MESSAGE_BYTES + 1, space, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                break
            # Close descriptors in the message (BARRIER=1, FDSTORE=1): a barrier waits for that.
            self._closer.close(descriptors_in(control))
            pid, uid = _sender(control)
            if uid not in (0, os.geteuid()) and not (pid and ours(pid)):
                strangers += 1
                if strangers == 1:  # any process may send, and must not fill the log
                    text = f"sent by uid {uid}, pid {pid}, which is not a process of this worker"
                    found.append(Malformed(text))
            else:
                found.append(parse(data))
        return found

    def close(self) -> None:
        self.abandon()
        if self._path is not None:
            with contextlib.suppress(OSError):
                Path(self._path).unlink(missing_ok=True)


def bound_again(address: str) -> int:
    """Bind a dead supervisor's address again, because its worker still sends to it.

    Returns the descriptor. Raises OSError.
    """
    return _bound(address.replace("@", "\0", 1) if address.startswith("@") else address).detach()


def remove_others(begin: str, used: Container[str]) -> None:
    """Remove socket files of dead supervisors whose paths have this prefix, but for `used` ones."""
    directory, name = os.path.split(begin)
    with contextlib.suppress(OSError):
        for path in Path(directory).iterdir():
            if path.name.startswith(f"{name}.") and str(path) not in used:
                path.unlink()


def _bound(name: str) -> socket.socket:
    """Bind a path, an abstract name (begins with NUL), or for "" a name chosen by the kernel."""
    with unix_socket(socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        if name == "" or name.startswith("\0"):
            sock.bind(name)
        else:
            Path(name).unlink(missing_ok=True)
            bind(sock, name, 0o666 if os.geteuid() == 0 else 0o600)
    return sock


def _sender(control: list[tuple[int, int, bytes]]) -> tuple[int | None, int | None]:
    """Return the sender's pid and uid, or None for each if the kernel did not attach them."""
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            pid, uid, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
            return pid, uid
    return None, None
