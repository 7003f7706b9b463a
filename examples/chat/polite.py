"""The chat server again, as a worker that uses the library: users are told, and closed politely.

python polite.py                            by itself, on 127.0.0.1:8765
wssupervisor --config chat.toml             supervised (command: .../polite.py)
"""

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast

from wssupervisor.worker import serve

people: set[ServerConnection] = set()


async def chat(connection: ServerConnection) -> None:
    people.add(connection)
    try:
        async for message in connection:
            broadcast(people, message)
    finally:
        people.discard(connection)


def tell_users() -> None:
    broadcast(people, "there is a new version: reload the page when it suits you")


asyncio.run(serve(chat, on_drain=tell_users, address=("127.0.0.1", 8765)))
