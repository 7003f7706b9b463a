"""Asking the kernel about sockets: NETLINK_SOCK_DIAG, whatever the family."""

import socket
import struct
from collections.abc import Generator

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 0x1
NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
NLMSG_DONE = 3
RECEIVE_BYTES = 1 << 18
ANSWER_SECONDS = 5.0
"""The kernel answers at once; this only bounds a bug."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


def ask(request: bytes, *, dump: bool) -> Generator[bytes, None, None]:
    """Yield the messages that answer a request: one, or with `dump` all that match.

    Raises OSError.
    """
    flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else 0)
    size = _HEADER.size + len(request)
    header = _HEADER.pack(size, SOCK_DIAG_BY_FAMILY, flags, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(ANSWER_SECONDS)
        netlink.sendto(header + request, (0, 0))
        while True:
            data = netlink.recv(RECEIVE_BYTES)
            offset = 0
            while offset + _HEADER.size <= len(data):
                size, kind, _, _, _ = _HEADER.unpack_from(data, offset)
                body = data[offset + _HEADER.size : offset + size]
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    (error,) = struct.unpack_from("=i", body)
                    if error:
                        raise OSError(-error, "sock_diag")
                    return
                yield body
                offset += (size + 3) & ~3
            if not dump:
                return


def attributes(body: bytes, offset: int) -> dict[int, bytes]:
    """The attributes that follow a message's fixed part, which ends at `offset`."""
    found = {}
    while offset + _ATTRIBUTE.size <= len(body):
        size, kind = _ATTRIBUTE.unpack_from(body, offset)
        found[kind] = body[offset + _ATTRIBUTE.size : offset + size]
        offset += max(_ATTRIBUTE.size, (size + 3) & ~3)
    return found
