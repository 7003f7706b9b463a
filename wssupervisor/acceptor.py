"""Accepting on a listening socket of the daemon's own: control clients, monitoring, an agent."""

import asyncio
import socket
from collections.abc import Callable

from wssupervisor.foreign import received, refuse_descriptors

AGAIN_SECONDS = 0.5
"""Pause after an accept that failed for want of a descriptor, which would wake us at once again."""


class Acceptor:
    """Hands each new connection on, non-blocking; the listening socket is its maker's."""

    def __init__(
        self, listening: socket.socket, welcome: Callable[[socket.socket], object]
    ) -> None:
        self._listening = listening
        self._welcome = welcome
        self._again: asyncio.TimerHandle | None = None
        refuse_descriptors(listening)
        self.resume()

    def pause(self) -> None:
        """Accept nobody until `resume`; also before the socket is closed."""
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
            return  # it has gone again
        except OSError:
            self.pause()
            self._again = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self.resume)
            return
        client.setblocking(False)
        self._welcome(received(client))
