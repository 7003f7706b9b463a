"""AF_UNIX sockets as the kernel knows them, by the file that they are bound to.

Layouts are those of linux/unix_diag.h. A connection has the binding of the listener that it came
through, so the file's inode identifies it; its path may have been bound again since.
"""

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from wssupervisor.runtime.kernel import netlink

ESTABLISHED = 1
LISTEN = 10
SHOW_NAME = 0x01
SHOW_VFS = 0x02
SHOW_QUEUE = 0x10
NAME = 0
VFS = 1
QUEUE = 4
SHUTDOWN = 6
BOTH_WAYS = 3
"""RCV_SHUTDOWN and SEND_SHUTDOWN: both ends have closed, or the other one is gone."""
NO_COOKIE = 0xFFFFFFFF

_REQUEST = struct.Struct("=BBHIIIII")
_MESSAGE = struct.Struct("=BBBBI8x")
_PAIR = struct.Struct("=II")


@dataclass(frozen=True, slots=True)
class Binding:
    """What a socket is bound to: a name and, if that is a path, its file.

    `file`: inode and device, as the kernel reports them, 32 bits each; None for abstract names and
    for sockets that are not bound. An inode alone could be 0, which says nothing.
    """

    name: bytes
    file: tuple[int, int] | None

    def __bool__(self) -> bool:
        return bool(self.name) or self.file is not None


UNBOUND = Binding(b"", None)


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """`inode` 0: it waits in an accept queue. `peer_left`: its other end is gone."""

    inode: int
    binding: Binding
    peer_left: bool = False

    @property
    def path(self) -> str:
        return os.fsdecode(self.binding.name.rstrip(b"\0"))


def listening(path: str) -> list[UnixSocket]:
    """All sockets that listen under this path, whether or not the file is still theirs."""
    return [one for one in _dump(LISTEN) if one.path == path]


def connections(binding: Binding) -> list[UnixSocket]:
    """The server's ends of all connections that came through the listener with this binding."""
    return through(binding, _dump(ESTABLISHED))


def through(binding: Binding, found: Iterable[UnixSocket]) -> list[UnixSocket]:
    """The sockets that have the binding of this listener: accepted ones inherit it.

    Clients are not bound, nor are the ends of a pair: these match nothing. Inodes of different
    files of a device may all be reported as 0: the name distinguishes their sockets.
    """
    return [one for one in found if binding and one.binding == binding]


def queued(inode: int) -> int:
    """Connections that wait in this listening socket's accept queue. Raises OSError."""
    request = _request(1 << LISTEN, inode, SHOW_QUEUE)
    for body in netlink.ask(request, dump=False):
        pair = netlink.attributes(body, _MESSAGE.size).get(QUEUE)
        if pair is not None:
            length, _ = _PAIR.unpack(pair)
            return int(length)
    return 0


def binding(inode: int) -> Binding:
    """What this listening socket is bound to. Raises OSError."""
    request = _request(1 << LISTEN, inode, SHOW_NAME | SHOW_VFS)
    found = (_parsed(body).binding for body in netlink.ask(request, dump=False))
    return next(found, UNBOUND)


def _request(states: int, inode: int, show: int) -> bytes:
    return _REQUEST.pack(socket.AF_UNIX, 0, 0, states, inode, show, NO_COOKIE, NO_COOKIE)


def _dump(state: int) -> list[UnixSocket]:
    request = _request(1 << state, 0, SHOW_NAME | SHOW_VFS)
    return [_parsed(body) for body in netlink.ask(request, dump=True)]


def _parsed(body: bytes) -> UnixSocket:
    _, _, _, _, inode = _MESSAGE.unpack_from(body)
    found = netlink.attributes(body, _MESSAGE.size)
    file = _PAIR.unpack(found[VFS]) if VFS in found else None
    shut = found.get(SHUTDOWN, b"\0")[0]
    return UnixSocket(inode, Binding(found.get(NAME, b""), file), shut == BOTH_WAYS)
