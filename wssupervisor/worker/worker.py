"""A worker as its application sees it: sockets, connections, and orders of the supervisor."""

import asyncio
import contextlib
import inspect
import logging
import random
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Self, assert_never

from wssupervisor import __version__
from wssupervisor.worker import pacing, protocol, sockets
from wssupervisor.worker.link import Link
from wssupervisor.worker.protocol import (
    Capability,
    Close,
    Drain,
    FromSupervisor,
    Refused,
    Resume,
    Stay,
    Welcome,
)

COUNT_EVERY = 1.0
"""Seconds between two reports of the number of connections, if it has changed."""
ASK_BUSY_EVERY = 0.5
GOING_AWAY = 1001
SERVICE_RESTART = 1012

ANSWERS_WITHIN = 5.0
"""Seconds to wait for the clients' answers to the last closes, before the process ends."""

Callback = Callable[[], Awaitable[None] | None]

log = logging.getLogger("wssupervisor.worker")


class Connection:
    """One connection of `Worker.track`. `active_at`: the time of its last message."""

    def __init__(
        self, close: Callable[[int, str], Awaitable[None]], busy: Callable[[], bool]
    ) -> None:
        self.close = close
        self.busy = busy
        self.active_at = time.monotonic()

    def touch(self) -> None:
        """Record a message: idle connections are closed first."""
        self.active_at = time.monotonic()


def never() -> bool:
    return False


class Worker:
    """Use as `async with Worker() as worker`, once in a process, on the event loop that serves.

    `on_drain` is called when the worker gets no more new connections (notify your users), and
    `on_resume` when it gets them again after a rollback. Either may be a coroutine function.
    Without a supervisor everything works, but the callbacks are never called.
    """

    def __init__(
        self,
        on_drain: Callback | None = None,
        on_resume: Callback | None = None,
        *,
        owns_process: bool = True,
    ) -> None:
        """`owns_process`: handle signals and sockets. False if a server does that."""
        self.draining = False
        self.ending = False
        self._owns_process = owns_process
        self._on_drain = on_drain
        self._on_resume = on_resume
        self._sockets: dict[str, list[socket.socket]] | None = None
        self._connections: set[Connection] = set()
        self._link: Link | None = None
        self._reported: protocol.Counts | None = None
        self._ready = False
        self._ready_sent = False
        self._alive_every = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[Any]] = set()
        self._end = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in self._signals():
            loop.add_signal_handler(number, self._end.set)
        self._link = Link.from_environment(self._hear)
        if self._link is not None:
            capabilities = [Capability.CLOSE.value]
            if self._owns_process:
                capabilities.append(Capability.STOP_ACCEPTING.value)
            library = f"wssupervisor.worker {__version__}"
            self._link.say(protocol.Hello(protocol.VERSION, tuple(capabilities), library))
            self._start(self._report())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._link is not None:
            self._link.close()
        for number in self._signals():
            asyncio.get_running_loop().remove_signal_handler(number)

    def _signals(self) -> tuple[signal.Signals, ...]:
        return (signal.SIGTERM, signal.SIGINT) if self._owns_process else ()

    # -- for the application ------------------------------------------------------------------

    @property
    def sockets(self) -> dict[str, list[socket.socket]]:
        """The inherited listening sockets by listener. Raises NotGiven."""
        if self._sockets is None:
            self._sockets = sockets.adopt()
        return self._sockets

    def ready(self) -> None:
        """Report that it serves. With `[ready] by = "notify"` the supervisor waits for this."""
        self._ready = True
        self._report_ready()

    @contextlib.contextmanager
    def track(
        self,
        close: Callable[[int, str], Awaitable[None]],
        busy: Callable[[], bool] = never,
    ) -> Iterator[Connection]:
        """Use it around one connection. `close(code, reason)` closes the connection politely.

        While `busy()` is true, the connection is not closed at its turn but asked again, until the
        time that the supervisor allows is over.
        """
        connection = Connection(close, busy)
        self._connections.add(connection)
        if len(self._connections) == 1:
            self._report_counts()
        try:
            yield connection
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._report_counts()

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def until_ending(self) -> None:
        """Wait for SIGTERM. It comes when no connection is left, or at a limit or a stop."""
        await self._end.wait()

    async def close_all(self) -> None:
        """Close all at once, at the end: with 1012 if a new version has taken over, else 1001."""
        self.ending = True
        code = SERVICE_RESTART if self.draining else GOING_AWAY
        self._stop_closing()
        await self._close(Close(code, "", over=0.0, by=0.0))
        if self._endings:
            await asyncio.wait(self._endings, timeout=ANSWERS_WITHIN)

    # -- the supervisor's orders --------------------------------------------------------------

    def _hear(self, message: FromSupervisor, _descriptors: list[int]) -> None:
        match message:
            case Welcome(alive_every=seconds):
                if seconds and not self._alive_every:
                    self._alive_every = seconds
                    self._start(self._live())
            case Drain(release_sockets=names):
                first, self.draining = not self.draining, True
                self._stop_closing()
                if first:
                    held = self._sockets or {}
                    sockets.release_sockets(sock for name in names for sock in held.get(name, ()))
                    self._call(self._on_drain)
            case Resume():
                self.draining = False
                self._stop_closing()
                self._call(self._on_resume)
            case Stay():
                self._stop_closing()
            case Close():
                self._stop_closing()
                self._closing = self._start(self._close(message))
            case Refused(reason=reason):
                log.warning("the supervisor closed the channel: %s", reason)
            case _:
                assert_never(message)

    def _call(self, callback: Callback | None) -> None:
        if callback is not None:
            self._start(_called(callback))

    def _start(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _stop_closing(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    async def _close(self, wish: Close) -> None:
        """Close each connection at its turn: the busy ones later, new ones at the end."""
        began = time.monotonic()
        found = list(self._connections)
        order = pacing.idle_first([connection.active_at for connection in found])
        turns = pacing.turns(len(found), wish.over, random.random)
        for turn, at in zip(turns, order, strict=True):
            await asyncio.sleep(max(0.0, began + turn - time.monotonic()))
            if not found[at].busy():
                self._end_connection(found[at], wish)
        if not wish.everyone:
            return
        while (left := wish.by - (time.monotonic() - began)) > 0 and self._connections:
            for connection in list(self._connections):
                if not connection.busy():
                    self._end_connection(connection, wish)
            await asyncio.sleep(min(ASK_BUSY_EVERY, left))
        for connection in list(self._connections):
            self._end_connection(connection, wish)

    def _end_connection(self, connection: Connection, wish: Close) -> None:
        """Start to close a connection, once, without waiting for the client's answer."""
        if connection in self._connections:
            self._connections.discard(connection)
            ending = self._start(_closed(connection, wish))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    # -- reports to the supervisor ------------------------------------------------------------

    async def _report(self) -> None:
        """Report counts at intervals. (The first and the last connection are reported at once.)

        Repeats what was dropped because the supervisor was not reading.
        """
        while True:
            self._report_ready()
            self._report_counts()
            await asyncio.sleep(COUNT_EVERY)

    def _report_counts(self) -> None:
        """Report the number of connections if it has changed."""
        busy = sum(one.busy() for one in self._connections)
        counts = protocol.Counts(len(self._connections), busy)
        if counts != self._reported and self._link is not None and self._link.say(counts):
            self._reported = counts

    def _report_ready(self) -> None:
        if self._ready and not self._ready_sent and self._link is not None:
            self._ready_sent = self._link.say(protocol.Ready())

    async def _live(self) -> None:
        """Send heartbeats from the event loop itself: a stuck loop sends none."""
        while self._link is not None:
            self._link.say(protocol.Alive())
            await asyncio.sleep(self._alive_every)


async def _called(callback: Callback) -> None:
    result = callback()
    if inspect.isawaitable(result):
        await result


async def _closed(connection: Connection, wish: Close) -> None:
    with contextlib.suppress(Exception):  # whatever the error, the connection is gone
        await connection.close(wish.code, wish.reason)
