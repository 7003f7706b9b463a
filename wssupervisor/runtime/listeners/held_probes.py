"""Probes that were accepted are held open for a while, so that servers do not log them as failures.

`websockets` 15 and 16 log 30 lines for a client that leaves without a word, until their own limit
(docs/internals/platform.md#a-probe-that-leaves-early-is-logged). So a probe is held for longer than
that, unless a client waits for its place (a server that serves one client at a time) or its worker
has to end.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

HELD_SECONDS = 15.0
LOOK_SECONDS = 0.02
WAITED_LOOKS = 5
"""Consecutive looks with a client in the slot's queue, which may wait for the probe to end."""


class Server(Protocol):
    """A worker's process that has accepted held probes, and counts them."""

    probes: int


@dataclass(slots=True)
class Held:
    client: socket.socket
    process: Server
    queued: Callable[[], int]
    until: float
    waited: int = 0


class HeldProbes:
    """Owns the client's ends of the held probes."""

    def __init__(self) -> None:
        self._held: list[Held] = []
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, client: socket.socket, process: Server, queued: Callable[[], int]) -> None:
        """Keep a connection for a while. `queued` returns how many connections wait in its slot."""
        client.setblocking(False)
        self._held.append(Held(client, process, queued, time.monotonic() + HELD_SECONDS))
        process.probes += 1
        if self._timer is None:
            self._look()

    def end(self, process: Server) -> None:
        """Close the probes of a worker that has to end, so that it does not wait for them."""
        self._close([one for one in self._held if one.process is process])

    def close(self) -> None:
        self._close(list(self._held))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = time.monotonic()
        for one in self._held:
            one.waited = one.waited + 1 if one.queued() else 0
        self._close(
            [
                one
                for one in self._held
                if one.waited >= WAITED_LOOKS or now >= one.until or _over(one.client)
            ]
        )
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOOK_SECONDS, self._look) if self._held else None

    def _close(self, some: list[Held]) -> None:
        for one in some:
            self._held.remove(one)
            one.process.probes -= 1
            one.client.close()


def _over(client: socket.socket) -> bool:
    """Whether the server has ended the connection. Data that it sends is discarded."""
    try:
        return client.recv(1 << 16) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
