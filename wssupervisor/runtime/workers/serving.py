"""Which process of a worker's tree accepted which of its connections, as far as was observed.

A helper that is forked while clients are connected inherits their connections, and serves none of
them. The kernel does not distinguish acceptor and heir. So this module remembers which process took
the probe at the start, and which process held each connection first. A fork's copy has the same
descriptor number as the original; a descriptor passed to a process that serves it usually has not.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum

Sockets = Mapping[int, Mapping[int, int]]
"""By pid: the inode of each socket that it holds, with its descriptor."""


class Acceptor(Enum):
    MAIN = "main"
    OTHERS = "others"


class Serving:
    """State for one tree; `acceptor` is None until a process of it was seen to accept."""

    def __init__(self, main: int, acceptor: Acceptor | None = None) -> None:
        self._main = main
        self.acceptor = acceptor
        self._first: dict[int, tuple[int, int]] = {}

    def took_probe(self, holders: AbstractSet[int]) -> None:
        """These processes hold the server's end of a probe, moments after it was accepted."""
        self.acceptor = Acceptor.MAIN if self._main in holders else Acceptor.OTHERS

    def look(
        self, sockets: Sockets, connections: AbstractSet[int], peer_left: AbstractSet[int]
    ) -> dict[int, frozenset[int]]:
        """Record the current holders; return connections that only helpers hold, with their pids.

        The process that accepted such a connection has closed it, or has ended. `peer_left`:
        connections whose client has stopped sending.
        """
        if sockets.keys() == {self._main} and not self._first:
            if self.acceptor is None and not connections.isdisjoint(sockets[self._main]):
                self.acceptor = Acceptor.MAIN
            return {}
        holders: dict[int, set[int]] = {}
        for pid, own in sockets.items():
            for inode in own.keys() & connections:
                holders.setdefault(inode, set()).add(pid)
        self._first = {inode: self._first[inode] for inode in self._first.keys() & holders.keys()}
        return {
            inode: frozenset(pids)
            for inode, pids in holders.items()
            if self._let_go(inode, pids, sockets, may_serve=inode not in peer_left)
        }

    def _let_go(
        self, inode: int, pids: AbstractSet[int], sockets: Sockets, *, may_serve: bool
    ) -> bool:
        first = self._first.get(inode)
        if first is None:
            if self._main not in pids:
                if self.acceptor is Acceptor.MAIN:
                    return True
                if may_serve:
                    self.acceptor = Acceptor.OTHERS
            # A parent is older than what it forked, and pids grow until they wrap around.
            pid = self._main if self._main in pids else min(pids)
            self._first[inode] = (pid, sockets[pid][inode])
            return False
        pid, number = first
        return pid not in pids and all(sockets[one][inode] == number for one in pids)


def by_process(held: Mapping[int, frozenset[int]], inodes: Iterable[int]) -> dict[int, int]:
    """How many of these connections each process holds."""
    found: dict[int, int] = {}
    for inode in inodes:
        for pid in held[inode]:
            found[pid] = found.get(pid, 0) + 1
    return found
