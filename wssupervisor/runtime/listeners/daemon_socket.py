"""A listening socket of the daemon itself, for monitoring and load balancers."""

import asyncio
import socket
from collections.abc import Callable

import structlog

from wssupervisor.config.model import Address, Listen, UnixAddress
from wssupervisor.errors import ListenFailed
from wssupervisor.runtime.listeners.listener_set import restored_pool
from wssupervisor.runtime.listeners.pool import Pool, PoolState
from wssupervisor.runtime.listeners.tcp_pool import bind_pool
from wssupervisor.runtime.listeners.unix_pool import UnixPool, bind_unix

log = structlog.get_logger()

WHY_ONE = "it serves no workers"
BACKLOG = 64
UNIX_MODE = 0o660
"""Mode of the socket file. The group may connect, as to the control socket."""
RETRY_SECONDS = 2.0


class DaemonSocket:
    """Owns the socket, if there is one; `serve` is called with each new one."""

    def __init__(
        self,
        name: str,
        address: Address | UnixAddress | None,
        serve: Callable[[socket.socket], None],
        *,
        may_wait: bool,
        saved: PoolState | None = None,
    ) -> None:
        """Listen, unless `address` is None; `saved`: the socket of the previous program.

        `may_wait`: if listening fails, try again later, because workers already serve and must not
        end for that. Otherwise raises ListenFailed.
        """
        self._name = name
        self._address = address
        self._serve = serve
        self._pool: Pool | None = None
        self._again: asyncio.TimerHandle | None = None
        self._why: str | None = None
        """Why the last attempt to listen failed; logged once."""
        if saved is not None:
            self._use(restored_pool(saved))
        elif may_wait:
            self._bind_at_last()
        else:
            self._bind()

    def is_swept(self) -> bool:
        """Whether the bound path was deleted, so that clients cannot connect. Raises OSError."""
        return isinstance(self._pool, UnixPool) and self._pool.is_swept()

    def bind_again(self) -> None:
        """Replace a deleted socket; binding is retried until it works."""
        if isinstance(self._pool, UnixPool):
            self._pool.abandon()
            self._pool = None
            self._bind_at_last()

    def save(self) -> PoolState | None:
        return None if self._pool is None else self._pool.save()

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if self._pool is not None:
            self._pool.close()

    def _use(self, pool: Pool) -> None:
        self._pool = pool
        self._serve(pool.slots[0].socket)

    def _bind(self) -> None:
        """Bind and listen. Raises ListenFailed."""
        address = self._address
        if isinstance(address, UnixAddress):
            listen = Listen(self._name, address, backlog=BACKLOG, socket_mode=UNIX_MODE)
            self._use(bind_unix(listen))
        elif address is not None:
            family, host, port = address.family, address.host, address.port
            self._use(
                bind_pool(
                    self._name, family, host, port, count=1, backlog=BACKLOG, why_shared=WHY_ONE
                )
            )

    def _bind_at_last(self) -> None:
        self._again = None
        try:
            self._bind()
        except ListenFailed as error:
            if self._why != str(error):
                self._why = str(error)
                log.error(  # noqa: TRY400 - what to do about it is not in the traceback
                    "cannot listen yet; retrying until it works",
                    listener=self._name,
                    why=self._why,
                )
            loop = asyncio.get_running_loop()
            self._again = loop.call_later(RETRY_SECONDS, self._bind_at_last)
