"""The interface of every kind of listener: its sockets and the connections through them."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.kernel.inet_diag import Endpoint


@dataclass(frozen=True, slots=True)
class PoolState:
    """`path` is None for TCP; `lock` is None if systemd made the socket.

    `own`: our own connections, which no client has: see OwnConnections.
    """

    name: str
    source: str
    why_shared: str | None
    descriptors: tuple[int, ...]
    original_options: dict[str, str]
    path: str | None = None
    lock: int | None = None
    own: dict[int, Endpoint] = field(default_factory=dict)

    def all_descriptors(self) -> tuple[int, ...]:
        """All descriptors of the pool, the lock's included."""
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
        """Return the number of connections in its accept queue; None if it does not listen."""

    def listening(self) -> bool: ...

    def listen(self, backlog: int) -> None:
        """Set the limit of its queue; a slot that was shut down stays down."""


class Pool(Protocol):
    """All slots of one listener; owns them."""

    name: str
    source: str
    """Which of the two made the sockets: "systemd", which keeps them after our end, or "self"."""
    why_shared: str | None
    """Why all workers share its first slot; None in steered mode."""

    original_options: dict[str, str]
    """Socket options as they were at first: see socket_options."""

    @property
    def address(self) -> str: ...

    @property
    def slots(self) -> Sequence[ListeningSlot]: ...

    def save(self) -> PoolState:
        """Return the state from which `restore` of the same class makes the pool again."""

    def by_inode(self, inode: SlotId) -> ListeningSlot: ...

    def check_alone(self) -> None:
        """Raise AddressTaken if another process listens on the address, too."""

    def connections(self) -> Connections:
        """Return all accepted connections: those that some process holds."""

    def close(self) -> None: ...
