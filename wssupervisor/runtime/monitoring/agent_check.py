"""HAProxy's agent-check on [http] agent: each client gets one line, then the connection closes.

It reads nothing and sends one word, so it may be reachable from other machines, such as load
balancers. Its socket is not kept over an upgrade: HAProxy ignores an unreachable agent and asks
again.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable

from wssupervisor.acceptor import Acceptor
from wssupervisor.config.model import Address
from wssupervisor.runtime.listeners.daemon_socket import DaemonSocket

NAME = "[http] agent"
CLIENTS_MAX = 32
"""At most this many clients: another one replaces the oldest, which does not read or close."""
CLIENT_SECONDS = 2.0
"""Seconds from accept to close, if the client does not close first."""
HEARD_BYTES = 4096


class Agent:
    """Owns its listening socket, once there is one."""

    def __init__(self, address: Address | None, line: Callable[[], str], *, may_wait: bool) -> None:
        """`line`: the answer as it is now. `may_wait` and errors raised: as DaemonSocket."""
        self._line = line
        self._acceptor: Acceptor | None = None
        self._clients: dict[socket.socket, asyncio.TimerHandle] = {}
        self._listener = DaemonSocket(NAME, address, self._serve, may_wait=may_wait)

    def close(self) -> None:
        """Close every client and the socket."""
        for client in list(self._clients):
            self._let_go(client)
        if self._acceptor is not None:
            self._acceptor.pause()
        self._listener.close()

    def _serve(self, listening: socket.socket) -> None:
        self._acceptor = Acceptor(listening, self._welcome)

    def _welcome(self, client: socket.socket) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            self._let_go(next(iter(self._clients)))
        try:
            client.send(f"{self._line()}\n".encode())
            client.shutdown(socket.SHUT_WR)
        except OSError:
            client.close()
            return
        loop = asyncio.get_running_loop()
        self._clients[client] = loop.call_later(CLIENT_SECONDS, self._let_go, client)
        loop.add_reader(client, self._heard, client)

    def _heard(self, client: socket.socket) -> None:
        """The client closed or sent data (agent-send), which unread would reset the connection."""
        with contextlib.suppress(OSError):
            client.recv(HEARD_BYTES)
        self._let_go(client)

    def _let_go(self, client: socket.socket) -> None:
        self._clients.pop(client).cancel()
        asyncio.get_running_loop().remove_reader(client)
        client.close()
