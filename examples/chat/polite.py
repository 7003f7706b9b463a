"""The chat server as a worker that uses the library: it notifies users and closes politely.

python polite.py                            by itself, on 127.0.0.1:8765
wssupervisor --config chat.toml             supervised (command: .../polite.py)
"""

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast

from wssupervisor.worker import serve

connections: set[ServerConnection] = set()


async def chat(connection: ServerConnection) -> None:
    connections.add(connection)
    try:
        async for message in connection:
            broadcast(connections, message)
    finally:
        connections.discard(connection)


def notify_users() -> None:
    broadcast(connections, "there is a new version: reload the page when it suits you")


asyncio.run(serve(chat, on_drain=notify_users, address=("127.0.0.1", 8765)))
