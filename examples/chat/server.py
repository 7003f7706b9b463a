"""A small chat server on `websockets`: each message goes to all clients in the room.

    python server.py 8765                       by itself
    wssupervisor --config chat.toml             supervised: the sockets come by LISTEN_FDS

The room is the path: ws://127.0.0.1:8765/lobby. Rooms live in one process, so with several workers
the clients of a room may be split. A real chat has a message broker between its processes.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections import defaultdict
from pathlib import Path

from websockets.asyncio.server import ServerConnection, broadcast, serve

HOST = "127.0.0.1"
FIRST_DESCRIPTOR = 3
BACKLOG = 4096
GENERATION = os.environ.get("WSSUPERVISOR_GENERATION", "0")
RELEASE = Path(os.environ.get("WSSUPERVISOR_RELEASE", ".")).resolve().name

rooms: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def chat(connection: ServerConnection) -> None:
    """One client, from its welcome to its end."""
    name = connection.request.path if connection.request else "/"
    room = rooms[name]
    await connection.send(
        f"welcome to {name}: release {RELEASE}, generation {GENERATION}, process {os.getpid()}"
    )
    room.add(connection)
    try:
        async for message in connection:
            broadcast(room, message)
    finally:
        room.discard(connection)
        if not room:
            rooms.pop(name, None)


def listening_sockets() -> list[socket.socket]:
    """The inherited sockets, or one that this process binds itself."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        last = FIRST_DESCRIPTOR + int(os.environ["LISTEN_FDS"])
        return [socket.socket(fileno=fd) for fd in range(FIRST_DESCRIPTOR, last)]
    return [socket.create_server((HOST, int(sys.argv[1])), backlog=BACKLOG)]


async def main() -> None:
    """Serve until SIGTERM, which comes when no connection is left, or at a limit or a stop."""
    # A client that connects and disconnects, as a probe does, is not worth a traceback.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    # Without backlog= the queue of the inherited socket would shrink to 100.
    servers = [
        await serve(chat, sock=sock, backlog=BACKLOG, open_timeout=30)
        for sock in listening_sockets()
    ]
    await ended.wait()
    for server in servers:
        server.close()
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
