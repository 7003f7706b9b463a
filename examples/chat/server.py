"""A small chat server on `websockets`: everybody in a room hears what anybody in it says.

    python server.py 8765                       by itself
    wssupervisor --config chat.toml             supervised: the sockets come by LISTEN_FDS

The room is the path: ws://127.0.0.1:8765/lobby. Rooms live in one process, so with several workers
people of one room may be apart; a real chat has a message broker between its processes.
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
    """One person, from hello to goodbye."""
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
    """Those that the supervisor passed on, or one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        last = FIRST_DESCRIPTOR + int(os.environ["LISTEN_FDS"])
        return [socket.socket(fileno=fd) for fd in range(FIRST_DESCRIPTOR, last)]
    return [socket.create_server((HOST, int(sys.argv[1])), backlog=BACKLOG)]


async def main() -> None:
    """Serve until SIGTERM: it comes when nobody is connected any more, or when all must end."""
    # Somebody who connects and goes away, as a probe does, is no error worth a traceback.
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    # Without backlog= the inherited socket's queue would be cut down to 100.
    servers = [
        await serve(chat, sock=sock, backlog=BACKLOG, open_timeout=30)
        for sock in listening_sockets()
    ]
    await told_to_end.wait()
    for server in servers:
        server.close()
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
