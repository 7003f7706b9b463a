"""The interface of every kind of listener: its sockets and the connections through them."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wssupervisor.fleet.model import SlotId


@dataclass(frozen=True, slots=True)
class PoolState:
    """`path` is None for TCP; `lock` is None if systemd made the socket.

    `probes`: inodes of the server's ends of our probes, which are no clients. A server that never
    closes one keeps it after the supervisor that made it.
    """

    name: str
    source: str
    why_shared: str | None
    descriptors: tuple[int, ...]
    promise: dict[str, str]
    path: str | None = None
    lock: int | None = None
    probes: tuple[int, ...] = ()

    def all_descriptors(self) -> tuple[int, ...]:
        """The lock's, too."""
        return self.descriptors if self.lock is None else (*self.descriptors, self.lock)


@dataclass(frozen=True, slots=True)
class Connections:
    """Inodes of the server's ends of accepted connections. `live`: may still have a client.

    `peer_left`: the client has closed its end, or its sending half.
    """

    held: frozenset[int]
    live: frozenset[int]
    peer_left: frozenset[int] = frozenset()


class ListeningSlot(Protocol):
    """One listening socket; `inode` is its identity."""

    socket: socket.socket
    inode: SlotId

    def look(self) -> int | None:
        """Number of connections in its accept queue; None if it does not listen."""

    def listening(self) -> bool: ...

    def listen(self, backlog: int) -> None:
        """Set the limit of its queue; one that was shut down stays down."""


class Pool(Protocol):
    """All slots of one listener; owns them."""

    name: str
    source: str
    """"systemd" or "self": which of the two holds the sockets after we are gone."""
    why_shared: str | None
    """Why all workers share its first slot; None in steered mode."""

    promise: dict[str, str]
    """Socket options as they were at first: see socket_options."""

    @property
    def address(self) -> str: ...

    @property
    def slots(self) -> Sequence[ListeningSlot]: ...

    def save(self) -> PoolState:
        """For the next program, where the `restore` of this class makes a pool of it again."""

    def by_inode(self, inode: SlotId) -> ListeningSlot: ...

    def check_alone(self) -> None:
        """Raise AddressTaken if another process listens on the address, too."""

    def connections(self) -> Connections:
        """All connections that a process holds."""

    def close(self) -> None: ...
