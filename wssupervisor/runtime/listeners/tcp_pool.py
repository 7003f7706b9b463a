"""The listening sockets of a TCP listener: taken over from systemd, or bound here.

None is closed while the instance lives
(docs/internals/platform.md#a-closed-slot-resets-its-clients).
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from wssupervisor.config.model import Mode
from wssupervisor.errors import AddressTaken, ListenFailed, SteeringRefused
from wssupervisor.fleet.model import SlotId
from wssupervisor.plural import count
from wssupervisor.runtime.kernel.descriptors import inherited
from wssupervisor.runtime.kernel.inet_diag import TcpState, held_inodes
from wssupervisor.runtime.listeners.holders import describe_holders, ending, listening_inodes
from wssupervisor.runtime.listeners.own_connections import OwnConnections
from wssupervisor.runtime.listeners.pool import Connections, PoolState
from wssupervisor.runtime.listeners.reach import Reach, reach
from wssupervisor.runtime.listeners.socket_options import options_of, original_options_of

TCP_INFO_BYTES = 104
_QUEUE = struct.Struct("=II")
_STATE_AT = 0
_QUEUE_AT = 24
"""Offset of tcpi_unacked and tcpi_sacked: a listening socket's queue length and limit."""

LIVE = frozenset({TcpState.ESTABLISHED, TcpState.CLOSE_WAIT})
PEER_LEFT = frozenset({TcpState.CLOSE_WAIT, TcpState.LAST_ACK, TcpState.CLOSING, TcpState.CLOSE})
FEWEST_SLOTS = 3
"""Old generation, new generation, parking: fewer slots leave nothing to steer."""


class Slot:
    """One listening socket; owns its descriptor. `inode` is its identity."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.inode: SlotId = os.fstat(sock.fileno()).st_ino
        self.times_down = 0
        """How often a worker has shut it down."""

    def _queue(self) -> tuple[int, int]:
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        length, limit = _QUEUE.unpack_from(info, _QUEUE_AT)
        return length, limit

    def look(self) -> int | None:
        """Return the number of connections in its accept queue; None if it does not listen."""
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        if info[_STATE_AT] != TcpState.LISTEN:
            return None
        length: int = _QUEUE.unpack_from(info, _QUEUE_AT)[0]
        return length

    def queued(self) -> int:
        """Return the number of connections in its accept queue; 0 if it does not listen."""
        return self.look() or 0

    def listening(self) -> bool:
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def listen(self, backlog: int) -> None:
        """Set the limit of its queue.

        A slot that a worker shut down stays down: listening again moves indexes, which only
        `Steering.recover` handles.
        """
        if self.listening():
            self.socket.listen(backlog)

    def defers(self) -> bool:
        """Whether the slot hides clients that have not sent anything (TCP_DEFER_ACCEPT)."""
        return bool(self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT))

    def show_clients(self) -> None:
        """Switch TCP_DEFER_ACCEPT off, even if the worker set it: clients must be visible."""
        if self.defers():
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)

    def reset_no_client(self, times_down: int) -> bool:
        """Whether the kernel has reset none of its clients since its `times_down`-th shutdown.

        The kernel resets all clients that wait in a socket that is shut down and, with
        net.ipv4.tcp_abort_on_overflow, those that find the queue full.
        """
        return self.times_down == times_down and self.listening() and not self.full()

    def full(self) -> bool:
        """Whether its queue is full: then the kernel drops what is steered here."""
        length, limit = self._queue()
        return self.listening() and length > limit

    def make_room(self, more: int) -> None:
        """Raise the limit so that `more` fit beyond what waits now (up to net.core.somaxconn)."""
        length, limit = self._queue()
        self.listen(max(limit, length + more))

    def close(self) -> None:
        self.socket.close()


@dataclass(slots=True)
class TcpPool:
    """All slots of one TCP listener, in the order in which they were made or handed over."""

    name: str
    family: int
    host: str
    port: int
    source: str
    slots: list[Slot]
    why_shared: str | None = None
    original_options: dict[str, str] = field(default_factory=dict)
    own: OwnConnections = field(init=False)

    def __post_init__(self) -> None:
        self.own = OwnConnections(lambda: self.reach)

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if self.family == socket.AF_INET6 else self.host
        return f"{host}:{self.port}"

    @property
    def local_host(self) -> str | None:
        """The address it listens on; None for all addresses."""
        return None if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared

    @property
    def reach(self) -> Reach:
        """How this machine connects to the listener."""
        return reach(self.slots[0].socket)

    @property
    def reachable_host(self) -> str:
        """An address at which this machine can connect to the listener."""
        return self.reach.host

    @property
    def v6only(self) -> bool:
        if self.family != socket.AF_INET6:
            return False
        sock = self.slots[0].socket
        return bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))

    def save(self) -> PoolState:
        descriptors = tuple(slot.socket.fileno() for slot in self.slots)
        return PoolState(
            self.name,
            self.source,
            self.why_shared,
            descriptors,
            dict(self.original_options),
            own=self.own.save(),
        )

    @classmethod
    def restore(cls, state: PoolState) -> "TcpPool":
        slots = [Slot(inherited(descriptor)) for descriptor in state.descriptors]
        first = slots[0].socket
        host, port = first.getsockname()[:2]
        pool = cls(
            state.name,
            first.family,
            host,
            port,
            state.source,
            slots,
            state.why_shared,
            dict(state.original_options),
        )
        pool.own = OwnConnections(lambda: pool.reach, state.own)
        return pool

    def by_inode(self, inode: SlotId) -> Slot:
        return next(slot for slot in self.slots if slot.inode == inode)

    def check_alone(self) -> None:
        """Raise AddressTaken if another process listens on the address, too."""
        own = {slot.inode for slot in self.slots}
        found = listening_inodes(
            self.family,
            self.host,
            self.port,
            v6only=self.v6only,
            interface=self.reach.interface,
        )
        foreign = found - own
        if foreign:
            raise taken(self.name, self.address, foreign)

    def connections(self) -> Connections:
        found = list(held_inodes(self.family, self.port, self.local_host, self.own.cookies))
        return Connections(
            frozenset(inode for inode, _ in found),
            frozenset(inode for inode, state in found if state in LIVE),
            frozenset(inode for inode, state in found if state in PEER_LEFT),
        )

    def close(self) -> None:
        for slot in self.slots:
            slot.close()


def taken(name: str, address: str, inodes: set[int]) -> AddressTaken:
    """Return the error that names the process that listens on an address."""
    who = describe_holders(inodes) or "a process that this user may not inspect"
    text = f"another process listens on {address}: {who}. {ending(inodes)}"
    if not inodes:  # an outgoing connection may have been given the port, or it was just freed
        text = f"{address} is in use, though no process listens there. Try again"
    error = AddressTaken(f"listener {name!r}: {text}, or give this instance another address")
    error.inodes = frozenset(inodes)
    return error


def bind_pool(
    name: str,
    family: int,
    host: str,
    port: int,
    *,
    count: int,
    backlog: int,
    why_shared: str | None = None,
) -> TcpPool:
    """Bind `count` slots on one address and listen, in order; one slot in shared mode.

    Raises AddressTaken, or ListenFailed with what to do about it.
    """
    shown = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
    made: list[socket.socket] = []
    try:
        with _bound(family, host, port, reuse_port=False) as alone:
            # Without SO_REUSEPORT, bind fails if any process listens there: so we join no other
            # program's group and take none of its clients.
            port = alone.getsockname()[1]
        for _ in range(1 if why_shared else count):
            made.append(_bound(family, host, port, reuse_port=not why_shared))
            made[-1].listen(backlog)
    except OSError as error:
        for sock in made:
            sock.close()
        raise _bind_failed(error, name, shown, family=family, host=host, port=port) from error
    slots = [Slot(sock) for sock in made]
    return TcpPool(name, family, host, port, "self", slots, why_shared, options_of(made[0]))


def bind_one_more(family: int, host: str, port: int, backlog: int) -> socket.socket:
    """Bind a slot that replaces a lost one in an existing group. Raises OSError."""
    sock = _bound(family, host, port, reuse_port=True)
    sock.listen(backlog)
    return sock


def _bound(family: int, host: str, port: int, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _bind_failed(
    error: OSError, name: str, shown: str, *, family: int, host: str, port: int
) -> ListenFailed:
    match error.errno:
        case errno.EADDRINUSE:
            return taken(name, shown, listening_inodes(family, host, port))
        case errno.EACCES:
            advice = "Ports below 1024 need a systemd socket unit, root, or CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            advice = "No interface of this machine has that address"
        case errno.EMFILE | errno.ENFILE:
            advice = "Raise LimitNOFILE= (or ulimit -n), or lower [drain] max_draining"
        case _:
            advice = "Check the address in [[listen]]"
    return ListenFailed(f"listener {name!r}: cannot listen on {shown}: {error.strerror}. {advice}")


def adopt(name: str, descriptors: Sequence[int], mode: Mode = Mode.AUTO) -> TcpPool:
    """Make a pool of systemd's descriptors; family and address are read from them.

    A socket without SO_REUSEPORT makes the listener shared. Owns the descriptors from here on.
    Raises ListenFailed or SteeringRefused, naming the option of the socket unit that is wrong.
    """
    why_shared: str | None = None
    sockets: list[socket.socket] = []
    try:
        for descriptor in descriptors:
            sockets.append(_opened(name, descriptor))
            why_shared = why_shared or _why_shared(name, sockets[-1], mode)
            sockets[-1].settimeout(0)
            fcntl.fcntl(sockets[-1], fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        host, port = _one_address(name, sockets)
        if why_shared is None:
            _check_number(name, sockets)
    except BaseException:
        for sock in sockets:
            sock.close()
        for descriptor in descriptors[len(sockets) :]:
            os.close(descriptor)
        raise
    slots = [Slot(sock) for sock in sockets]
    family, original_options = sockets[0].family, original_options_of(sockets)
    return TcpPool(name, family, host, port, "systemd", slots, why_shared, original_options)


def _opened(name: str, descriptor: int) -> socket.socket:
    try:
        return socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenFailed(f"listener {name!r}, descriptor {descriptor}: not a socket") from error


def _one_address(name: str, sockets: Sequence[socket.socket]) -> tuple[str, int]:
    """Return the host and port that all sockets listen on. Raises ListenFailed if they differ."""
    addresses = {sock.getsockname()[:2] for sock in sockets}
    if len(addresses) > 1:
        shown = ", ".join(sorted(f"{host}:{port}" for host, port in addresses))
        raise ListenFailed(
            f"listener {name!r}: the socket unit gives one name to several addresses ({shown}). Use"
            " one socket unit with its own FileDescriptorName= for each"
        )
    ((host, port),) = addresses
    return host, port


def _check_number(name: str, sockets: Sequence[socket.socket]) -> None:
    if len(sockets) < FEWEST_SLOTS:
        raise ListenFailed(
            f"listener {name!r}: the socket unit passed {count(len(sockets), 'slot')}, but at least"
            f" {FEWEST_SLOTS} are needed. Repeat its ListenStream= line (8 times the number of"
            " workers, at least 16), then restart the socket and the service"
        )


def _why_shared(name: str, sock: socket.socket, mode: Mode) -> str | None:
    """Return why it cannot be steered; None if it can. Raises ListenFailed, SteeringRefused."""

    def option(level: int, which: int) -> int:
        return sock.getsockopt(level, which)

    where = f"listener {name!r}, descriptor {sock.fileno()}"
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        raise ListenFailed(f"{where}: neither a TCP nor an AF_UNIX stream socket")
    if not option(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ListenFailed(f"{where}: does not listen. Set Accept=no in the socket unit")
    if not option(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        text = "was made without SO_REUSEPORT (ReusePort=yes in the socket unit)"
        if mode is Mode.STEERED:
            raise SteeringRefused(f"{where}: {text}, so new connections cannot be steered")
        return f"the socket {text}"
    return None
