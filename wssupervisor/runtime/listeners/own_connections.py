"""Connections of our own to a listener: no client has them, however long a server keeps them.

A server may keep a connection that we have closed for as long as it lives, longer than this
supervisor. So each server's end is remembered by its cookie, with our address, until it is gone.
Addresses and inodes are used again, for clients; a cookie is not
(docs/internals/platform.md#a-cookie-names-one-connection).
"""

from collections.abc import Callable, Mapping

from wssupervisor.runtime.kernel.inet_diag import DiagSocket, Endpoint, TcpState, server_side
from wssupervisor.runtime.listeners.reach import Reach

FEW = 16
"""Besides those that live, this many are remembered until the ended ones are looked for."""
MOST = 1024
"""Beyond this the oldest are forgotten: each save of the state has all that servers keep."""


class OwnConnections:
    """The own connections of one listener."""

    def __init__(
        self, reach: Callable[[], Reach], saved: Mapping[int, Endpoint] | None = None
    ) -> None:
        self._reach = reach
        self._ends: dict[int, Endpoint] = dict(saved or {})
        """Our address, by the cookie of the server's end; the oldest first."""
        self._look_at = FEW
        """The number at which those that have ended are looked for."""
        self.keep: Callable[[], object] | None = None
        """Called after each new connection, to save it: the supervisor may die before it ends."""

    def save(self) -> dict[int, Endpoint]:
        return dict(self._ends)

    @property
    def cookies(self) -> frozenset[int]:
        """May be called in any thread."""
        return frozenset(self._ends)

    def find(self, source: Endpoint) -> DiagSocket | None:
        """Return the server's end of a connection from this address; None if there is none."""
        reach = self._reach()
        return server_side(reach.family, (reach.host, reach.port), source, reach.interface)

    def remember(self, source: Endpoint) -> DiagSocket | None:
        """Like `find`, and the server's end is remembered as ours.

        Only while our socket with this address is open: afterwards a client may have the address.
        """
        found = self.find(source)
        if found is not None and found.cookie not in self._ends:
            self._ends[found.cookie] = source
            if len(self._ends) >= self._look_at:
                self.forget_ended()
            if self.keep is not None:
                self.keep()
        return found

    def forget_ended(self) -> None:
        """Forget connections that have ended, and the oldest if there are more than MOST."""
        living = {
            cookie: source for cookie, source in self._ends.items() if self._lives(cookie, source)
        }
        self._ends = dict([*living.items()][-MOST:])
        self._look_at = len(self._ends) + FEW

    def _lives(self, cookie: int, source: Endpoint) -> bool:
        found = self.find(source)
        return (
            found is not None and found.cookie == cookie and found.state is not TcpState.TIME_WAIT
        )
