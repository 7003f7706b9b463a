"""TCP sockets as the kernel knows them, by local port, over NETLINK_SOCK_DIAG.

Layouts are those of linux/inet_diag.h. psutil's list is ten times too slow for this
(docs/internals/platform.md#what-a-count-costs); pyroute2 costs 12 MB.
"""

import socket
import struct
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, replace
from enum import IntEnum

from wssupervisor.runtime.kernel import netlink

_REQUEST = struct.Struct("=BBBBI")
_ID_PORTS = struct.Struct("!HH")
_ID_REST = struct.Struct("=III")
_MESSAGE = struct.Struct("=BBBB")
_COUNTS = struct.Struct("=IIIII")
NO_COOKIE = 0xFFFFFFFF

_ATTRIBUTES_AT = 72
_INODE = struct.Struct("=I")
_INTERFACE_AT = 40
_COOKIE_AT = 44
_COOKIE = struct.Struct("=Q")
_COOKIE_AND_INODE = struct.Struct("=Q16xI")
INFO = 2
"""INET_DIAG_INFO: a struct tcp_info."""
_IDLE = struct.Struct("=III")
"""tcpi_last_data_sent, tcpi_last_ack_sent, tcpi_last_data_recv: milliseconds ago."""
_IDLE_AT = 44
_BYTES = struct.Struct("=QQ")
"""tcpi_bytes_acked, tcpi_bytes_received: of the whole connection (Linux 4.1)."""
_BYTES_AT = 120
SKV6ONLY = 11
SOCKOPT = 22

Endpoint = tuple[str, int]


class TcpState(IntEnum):
    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12


HELD = frozenset(TcpState) - {TcpState.LISTEN, TcpState.TIME_WAIT, TcpState.SYN_RECV}
"""States of a connection that a process may hold a descriptor of."""


@dataclass(frozen=True, slots=True)
class DiagSocket:
    """`inode` 0: queued, half-open, or closed by its process. `rqueue` of a listener: its queue."""

    family: int
    state: TcpState
    local: Endpoint
    remote: Endpoint
    inode: int
    rqueue: int
    wqueue: int
    cookie: int = 0
    """Names this connection, from its handshake on; no other socket gets it until the next boot."""
    interface: int = 0
    """Index of the one interface that it is bound to; 0 for all."""
    v6only: bool = False
    """Reported for listeners only."""
    marked: bool | None = None
    """Has IP_BIND_ADDRESS_NO_PORT, which does nothing here but is inherited from the listening
    socket, and so identifies the listener of a connection. None: not reported (half-open, closed,
    or a kernel before 5.12)."""

    @property
    def queued(self) -> bool:
        """It waits in an accept queue, as does one whose client has already left."""
        return self.inode == 0 and self.state in (TcpState.ESTABLISHED, TcpState.CLOSE_WAIT)


def _packed(family: int, host: str) -> bytes:
    return socket.inet_pton(family, host).ljust(16, b"\0")


def _request(
    family: int,
    states: int,
    local: Endpoint,
    remote: Endpoint,
    extensions: int = 0,
    interface: int = 0,
) -> bytes:
    any_host = "0.0.0.0" if family == socket.AF_INET else "::"  # noqa: S104 - "any", not a bind
    return (
        _REQUEST.pack(family, socket.IPPROTO_TCP, extensions, 0, states)
        + _ID_PORTS.pack(local[1], remote[1])
        + _packed(family, local[0] or any_host)
        + _packed(family, remote[0] or any_host)
        + _ID_REST.pack(interface, NO_COOKIE, NO_COOKIE)
    )


def _parse(body: bytes) -> DiagSocket:
    family, state, _, _ = _MESSAGE.unpack_from(body, 0)
    local_port, remote_port = _ID_PORTS.unpack_from(body, 4)
    size = 4 if family == socket.AF_INET else 16
    local = socket.inet_ntop(family, body[8 : 8 + size])
    remote = socket.inet_ntop(family, body[24 : 24 + size])
    _, rqueue, wqueue, _, inode = _COUNTS.unpack_from(body, 52)
    tcp_state = TcpState.SYN_RECV if state == TcpState.NEW_SYN_RECV else TcpState(state)
    (interface,) = _INODE.unpack_from(body, _INTERFACE_AT)
    (cookie,) = _COOKIE.unpack_from(body, _COOKIE_AT)
    found = DiagSocket(
        family,
        tcp_state,
        (local, local_port),
        (remote, remote_port),
        inode,
        rqueue,
        wqueue,
        cookie,
        interface,
    )
    if tcp_state == TcpState.LISTEN:
        return replace(
            found, v6only=netlink.attributes(body, _ATTRIBUTES_AT).get(SKV6ONLY) == b"\1"
        )
    return found


def _parse_with_mark(body: bytes) -> DiagSocket:
    bits = netlink.attributes(body, _ATTRIBUTES_AT).get(SOCKOPT)
    return replace(_parse(body), marked=None if bits is None else bool(bits[1] & 1))


def sockets(family: int, port: int, states: frozenset[TcpState]) -> list[DiagSocket]:
    """All sockets of one family with this local port (0: any) in one of the states.

    The family is the listener's: IPv4 clients of a dual-stack listener are AF_INET6 sockets.
    Raises OSError.
    """
    mask = sum(1 << state for state in states)
    request = _request(family, mask, ("", port), ("", 0))
    return [
        found
        for found in map(_parse, netlink.ask(request, dump=True))
        if port in (0, found.local[1]) and found.state in states
    ]


def held_inodes(
    family: int, port: int, host: str | None, without: AbstractSet[int]
) -> Iterator[tuple[int, int]]:
    """(inode, state) of all connections with this local port and address that a process may hold.

    `without`: cookies of connections to leave out.

    There are many thousands, so nothing else is parsed. `host` None: any local address.
    Raises OSError.
    """
    mask = sum(1 << state for state in HELD)
    wanted_port = port.to_bytes(2, "big")
    wanted_host = None if host is None else socket.inet_pton(family, host)
    size = 4 if family == socket.AF_INET else 16
    for body in netlink.ask(_request(family, mask, ("", port), ("", 0)), dump=True):
        cookie, inode = _COOKIE_AND_INODE.unpack_from(body, _COOKIE_AT)
        if (
            inode
            and cookie not in without
            and body[4:6] == wanted_port
            and (wanted_host is None or body[8 : 8 + size] == wanted_host)
        ):
            yield inode, body[1]


@dataclass(frozen=True, slots=True)
class Held:
    """A connection that a process holds. `idle`: seconds since data last came or went.

    `received` and `sent`: bytes so far. `answered`: the last data went to the client.
    """

    inode: int
    cookie: int
    peer: str
    port: int
    idle: float
    unread: int
    unsent: int
    received: int = 0
    sent: int = 0
    answered: bool = False


def held(family: int, port: int, host: str | None) -> Iterator[Held]:
    """All connections with this local port and address, with what TCP_INFO reports.

    More expensive than `held_inodes`: for `wssctl why`. Raises OSError.
    """
    mask = sum(1 << state for state in HELD)
    request = _request(family, mask, ("", port), ("", 0), extensions=1 << (INFO - 1))
    for body in netlink.ask(request, dump=True):
        sock = _parse(body)
        if not sock.inode or sock.local[1] != port or host not in (None, sock.local[0]):
            continue
        info = netlink.attributes(body, _ATTRIBUTES_AT).get(INFO, b"")
        idle, answered, bytes_sent, bytes_received = 0.0, False, 0, 0
        if len(info) >= _IDLE_AT + _IDLE.size:
            sent, _, received = _IDLE.unpack_from(info, _IDLE_AT)
            idle = min(sent, received) / 1000
            answered = sent <= received
        if len(info) >= _BYTES_AT + _BYTES.size:
            bytes_sent, bytes_received = _BYTES.unpack_from(info, _BYTES_AT)
        yield Held(
            sock.inode,
            sock.cookie,
            sock.remote[0].removeprefix("::ffff:"),
            sock.remote[1],
            idle,
            sock.rqueue,
            sock.wqueue,
            bytes_received,
            bytes_sent,
            answered and bytes_received > 0 and bytes_sent > 0,
        )


def server_side(
    family: int, local: Endpoint, remote: Endpoint, interface: int = 0
) -> DiagSocket | None:
    """The server's end of one connection; `remote` is the client's address. None: there is none."""
    request = _request(family, 0xFFF, local, remote, interface=interface)
    try:
        found = [_parse_with_mark(body) for body in netlink.ask(request, dump=False)]
    except FileNotFoundError:
        return None
    return next((sock for sock in found if sock.remote[1] == remote[1]), None)


Handshake = tuple[Endpoint, Endpoint]


def pending_handshakes(family: int, port: int, most: int | None = None) -> frozenset[Handshake]:
    """(local, remote) of every handshake that is under way to this port.

    Clients decide how many there are: the search ends at `most` + 1.
    Raises OSError.
    """
    found: set[Handshake] = set()
    request = _request(family, 1 << TcpState.SYN_RECV, ("", port), ("", 0))
    with closing(netlink.ask(request, dump=True)) as answers:
        for sock in map(_parse, answers):
            if sock.local[1] == port and sock.state is TcpState.SYN_RECV:
                found.add((sock.local, sock.remote))
            if most is not None and len(found) > most:
                break
    return frozenset(found)
