"""The `websockets` library on an inherited socket. (wssupervisor.worker can do more.)"""

import asyncio
import os
import signal
import socket

from websockets.asyncio.server import serve

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"


async def echo(connection):
    await connection.send(GREETING)
    async for message in connection:
        await connection.send(message)


async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with serve(echo, sock=socket.socket(fileno=3), backlog=4096):
        await ended.wait()


asyncio.run(main())
