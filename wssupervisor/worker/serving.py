"""Serve WebSockets with the `websockets` library, 15 to 17, as a worker with all abilities."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sized
from typing import Any

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from wssupervisor.worker import sockets
from wssupervisor.worker.sockets import NotGiven
from wssupervisor.worker.worker import Callback, Connection, Worker

BACKLOG = 4096
HANDSHAKES_WITHIN = 5.0
"""At the end: seconds for accepted clients that have not sent their handshake yet."""
LOOK_SECONDS = 0.01

Handler = Callable[[ServerConnection], Awaitable[None]]


class TrackedConnection(ServerConnection):
    """Records when a message was last sent or received, so that idle ones are closed first."""

    tracked: Connection | None = None

    async def recv(self, *args: Any, **options: Any) -> Any:
        message = await super().recv(*args, **options)
        self._touch()
        return message

    async def send(self, *args: Any, **options: Any) -> None:
        self._touch()
        await super().send(*args, **options)

    def _touch(self) -> None:
        if self.tracked is not None:
            self.tracked.touch()


async def serve(
    handler: Handler,
    *,
    on_drain: Callback | None = None,
    on_resume: Callback | None = None,
    busy: Callable[[ServerConnection], bool] | None = None,
    address: tuple[str, int] | None = None,
    **options: Any,
) -> None:
    """Serve on all inherited sockets until SIGTERM, then close all connections politely.

    `on_drain` is called when no more new connections come, `on_resume` when they come again. While
    `busy(connection)` is true, the connection is not closed at its turn. `address`: where to listen
    if no supervisor started this process; without it that raises NotGiven. `options` are passed to
    websockets.asyncio.server.serve().
    """
    async with Worker(on_drain, on_resume) as worker:

        async def tracked(connection: ServerConnection) -> None:
            def is_busy() -> bool:
                return busy is not None and busy(connection)

            with worker.track(connection.close, is_busy) as found:
                if isinstance(connection, TrackedConnection):
                    connection.tracked = found
                await handler(connection)

        own = {"create_connection": TrackedConnection, "backlog": BACKLOG, **options}
        listening = _listening(worker, address)
        servers = [await serve_websockets(tracked, sock=sock, **own) for sock in listening]
        worker.ready()
        await worker.until_ending()
        sockets.release_sockets(listening)
        await _finish_handshakes(servers)
        await worker.close_all()
        for server in servers:
            server.close()
            await server.wait_closed()


def _listening(worker: Worker, address: tuple[str, int] | None) -> list[socket.socket]:
    try:
        return [sock for group in worker.sockets.values() for sock in group]
    except NotGiven:
        if address is None:
            raise
        return [socket.create_server(address, backlog=BACKLOG)]


async def _finish_handshakes(servers: list[Server]) -> None:
    """Let accepted clients finish their handshake: a closed server would answer 503."""
    until = time.monotonic() + HANDSHAKES_WITHIN
    # asyncio has accepted connections that `websockets` has not seen yet.
    await asyncio.sleep(LOOK_SECONDS)
    while time.monotonic() < until and any(map(_shakes_hands, servers)):  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)


def _shakes_hands(server: Server) -> bool:
    # The tasks of accepted connections: "handlers" until websockets 16, "handler_tasks" from 17.
    running: Sized = getattr(server, "handlers" if hasattr(server, "handlers") else "handler_tasks")
    return len(running) > len(server.connections)
