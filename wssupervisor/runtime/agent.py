"""HAProxy's agent-check, where [http] agent says so: one line for whoever connects, then the end.

It reads nothing and tells one word, so it may be reached from other machines: that is where load
balancers are. It has no socket to hand on over an upgrade: not reaching an agent changes nothing
for HAProxy, which asks again.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

import structlog

from wssupervisor.config import Address
from wssupervisor.errors import ListenFailed
from wssupervisor.fleet.health import agent_line
from wssupervisor.fleet.state import State
from wssupervisor.runtime.pool import Pool
from wssupervisor.runtime.slots import bind_pool

log = structlog.get_logger()

NAME = "[http] agent"
WHY_ONE = "it serves no workers"
BACKLOG = 64
CLIENTS_MAX = 32
"""When one more comes, the one that has been there longest goes: it does not read, or is silent."""
CLIENT_SECONDS = 2.0
"""From accepting a connection to its end, where the client does not end it."""
HEARD_BYTES = 4096
BIND_AGAIN_SECONDS = 2.0
ACCEPT_AGAIN_SECONDS = 0.5


class Agent:
    """Owns its listening socket, once there is one."""

    def __init__(self, address: Address | None, state: Callable[[], State]) -> None:
        self._address = address
        self._state = state
        self._pool: Pool | None = None
        self._clients: dict[socket.socket, asyncio.TimerHandle] = {}
        self._retry: asyncio.TimerHandle | None = None

    def begin(self, *, anew: bool) -> None:
        """Listen, if there is an address; not `anew`: at last, as workers serve already.

        Raises ListenFailed.
        """
        self._retry = None
        try:
            self._bind()
        except ListenFailed as error:
            if anew:
                raise
            log.error("the agent does not answer yet", why=str(error))  # noqa: TRY400 - no traceback
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(BIND_AGAIN_SECONDS, lambda: self.begin(anew=False))

    def close(self) -> None:
        """Let go of every client and of the socket."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for client in list(self._clients):
            self._let_go(client)
        if self._pool is not None:
            asyncio.get_running_loop().remove_reader(self._listening(self._pool))
            self._pool.close()
            self._pool = None

    def _bind(self) -> None:
        if self._address is not None:
            family, host, port = self._address.family, self._address.host, self._address.port
            self._pool = bind_pool(
                NAME, family, host, port, count=1, backlog=BACKLOG, why_shared=WHY_ONE
            )
            self._listen_on()

    @staticmethod
    def _listening(pool: Pool) -> socket.socket:
        return pool.slots[0].socket

    def _listen_on(self) -> None:
        self._retry = None
        if self._pool is not None:
            listening = self._listening(self._pool)
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            client, _ = listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # it has gone again
        except OSError:
            loop.remove_reader(listening)  # no descriptor is left: it would wake us at once again
            self._retry = loop.call_later(ACCEPT_AGAIN_SECONDS, self._listen_on)
            return
        client.setblocking(False)
        if len(self._clients) >= CLIENTS_MAX:
            self._let_go(next(iter(self._clients)))
        try:
            client.send(f"{agent_line(self._state())}\n".encode())
            client.shutdown(socket.SHUT_WR)
        except OSError:
            client.close()
            return
        self._clients[client] = loop.call_later(CLIENT_SECONDS, self._let_go, client)
        loop.add_reader(client, self._heard, client)

    def _heard(self, client: socket.socket) -> None:
        """It has closed, or says something (agent-send): unread that would reset the connection."""
        with contextlib.suppress(OSError):
            client.recv(HEARD_BYTES)
        self._let_go(client)

    def _let_go(self, client: socket.socket) -> None:
        self._clients.pop(client).cancel()
        asyncio.get_running_loop().remove_reader(client)
        client.close()
