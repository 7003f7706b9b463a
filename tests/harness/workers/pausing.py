"""An echo server on descriptor 3 whose loop stands still for PAUSE seconds in every EVERY seconds.

It says who answers: each line comes back with its pid before it. A file named by STALLS, while it
is there, makes it stand still, too.
"""

import asyncio
import os
import socket
import time
from pathlib import Path

PAUSE = float(os.environ.get("PAUSE", "0"))
EVERY = float(os.environ.get("EVERY", "7"))
GATE = Path(os.environ.get("GATE", "/nonexistent"))
"""While it is there, a process that starts does not serve yet."""
STALLS = Path(os.environ.get("STALLS", "/nonexistent"))
LOOK_SECONDS = 0.02


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(b"%d %s" % (os.getpid(), line))
        await writer.drain()
    writer.close()


async def pauses() -> None:
    while PAUSE:
        await asyncio.sleep(EVERY - PAUSE)
        time.sleep(PAUSE)  # noqa: ASYNC251 - what is played here


async def stalls() -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        while STALLS.exists() or Path(f"{STALLS}.{os.getpid()}").exists():
            time.sleep(LOOK_SECONDS)  # noqa: ASYNC251


async def main() -> None:
    while GATE.exists():
        await asyncio.sleep(LOOK_SECONDS)
    server = await asyncio.start_server(echo, sock=socket.socket(fileno=3), backlog=4096)
    async with server, asyncio.TaskGroup() as tasks:
        tasks.create_task(pauses())
        tasks.create_task(stalls())


asyncio.run(main())
