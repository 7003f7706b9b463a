"""AF_UNIX sockets as the kernel knows them, by the file that they are bound to.

Layouts are those of linux/unix_diag.h. A connection has the binding of the listener that it came
through, so the file's inode tells whose it is; a path could have been bound again meanwhile.
"""

import os
import socket
import struct
from dataclasses import dataclass

from wssupervisor.runtime import netlink

ESTABLISHED = 1
LISTEN = 10
SHOW_NAME = 0x01
SHOW_VFS = 0x02
SHOW_QUEUE = 0x10
NAME = 0
VFS = 1
QUEUE = 4
NO_COOKIE = 0xFFFFFFFF

_REQUEST = struct.Struct("=BBHIIIII")
_MESSAGE = struct.Struct("=BBBBI8x")
_PAIR = struct.Struct("=II")


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """`inode` 0: it waits in an accept queue. `file`: inode of what it is bound to."""

    inode: int
    path: str
    file: int


def listening(path: str) -> list[UnixSocket]:
    """All that listen on a file of this name, whether or not the file is still theirs."""
    return [one for one in _dump(LISTEN) if one.path == path]


def connections(file: int) -> list[UnixSocket]:
    """The server's ends of all connections that came through the listener bound to this file."""
    return [one for one in _dump(ESTABLISHED) if one.file == file]


def queued(inode: int) -> int:
    """Connections that wait in this listening socket's accept queue. Raises OSError."""
    request = _request(1 << LISTEN, inode, SHOW_QUEUE)
    for body in netlink.ask(request, dump=False):
        pair = netlink.attributes(body, _MESSAGE.size).get(QUEUE)
        if pair is not None:
            length, _ = _PAIR.unpack(pair)
            return int(length)
    return 0


def bound_file(inode: int) -> int:
    """Inode of the file that this socket is bound to; 0 where there is none. Raises OSError."""
    request = _request(1 << LISTEN, inode, SHOW_VFS)
    return next((_parsed(body).file for body in netlink.ask(request, dump=False)), 0)


def _request(states: int, inode: int, show: int) -> bytes:
    return _REQUEST.pack(socket.AF_UNIX, 0, 0, states, inode, show, NO_COOKIE, NO_COOKIE)


def _dump(state: int) -> list[UnixSocket]:
    request = _request(1 << state, 0, SHOW_NAME | SHOW_VFS)
    return [_parsed(body) for body in netlink.ask(request, dump=True)]


def _parsed(body: bytes) -> UnixSocket:
    _, _, _, _, inode = _MESSAGE.unpack_from(body)
    found = netlink.attributes(body, _MESSAGE.size)
    file = _PAIR.unpack(found[VFS])[0] if VFS in found else 0
    return UnixSocket(inode, os.fsdecode(found.get(NAME, b"").rstrip(b"\0")), file)
