"""Accepts on the daemon's own listening sockets: control, monitoring, and the agent."""

import asyncio
import socket
from collections.abc import Callable

from wssupervisor.foreign import received, refuse_descriptors

RETRY_SECONDS = 0.5
"""Pause after an accept that failed for lack of descriptors: the socket would wake us at once."""


class Acceptor:
    """Passes on each new connection, non-blocking. The caller owns the listening socket."""

    def __init__(
        self, listening: socket.socket, welcome: Callable[[socket.socket], object]
    ) -> None:
        self._listening = listening
        self._welcome = welcome
        self._again: asyncio.TimerHandle | None = None
        refuse_descriptors(listening)
        self.resume()

    def pause(self) -> None:
        """Accept no connection until `resume`. Call it also before the socket is closed."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._listening.fileno() < 0:
            return  # closed, and not replaced yet
        asyncio.get_running_loop().remove_reader(self._listening)

    def resume(self) -> None:
        self._again = None
        if self._listening.fileno() < 0:
            return
        asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        try:
            client, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client has disconnected already
        except OSError:
            self.pause()
            self._again = asyncio.get_running_loop().call_later(RETRY_SECONDS, self.resume)
            return
        client.setblocking(False)
        self._welcome(received(client))
