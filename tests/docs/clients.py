"""Clients for documents to show: they connect, a reload comes, and some of them disconnect.

python -m tests.docs.clients COUNT LEAVE
"""

import asyncio
import random
import sys

from websockets.asyncio.client import ClientConnection, connect

ADDRESS = "ws://127.0.0.1:8765/room-"
FROM = ("127.7.0.1", 0)
LEAVE_SECONDS = 10.0
SAYS_EVERY = 2.0


async def talk(connection: ClientConnection) -> None:
    """Alone: each client has a room to itself."""
    while True:
        await asyncio.sleep(random.uniform(0.1, SAYS_EVERY))
        await connection.send("is someone there?")
        await connection.recv()


async def main(count: int, leave: int) -> None:
    clients = [await connect(f"{ADDRESS}{one}", local_addr=FROM) for one in range(count)]
    reload = await asyncio.create_subprocess_exec("wssctl", "reload")
    await reload.wait()
    async with asyncio.TaskGroup() as tasks:
        for one in clients[leave:]:
            tasks.create_task(talk(one))
        for one in clients[:leave]:
            await one.close()
            await asyncio.sleep(LEAVE_SECONDS / leave)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
