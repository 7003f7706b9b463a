"""A main process that accepts nothing and two children that serve, as gunicorn has it.

Each child greets with its pid and echoes. Its one argument, if it is "says_ready": the main process
says READY=1.
"""

import asyncio
import os
import signal
import socket
import sys

FIRST_DESCRIPTOR = 3
CHILDREN = 2


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{os.getpid()}\n".encode())
    while line := await reader.readline():
        writer.write(line)
    writer.close()


async def serve() -> None:
    names = os.environ["LISTEN_FDNAMES"].split(":")
    listening = [socket.socket(fileno=FIRST_DESCRIPTOR + at) for at in range(len(names))]
    servers = [await asyncio.start_server(echo, sock=one, backlog=100) for one in listening]
    await asyncio.gather(*(one.serve_forever() for one in servers))


for _ in range(CHILDREN):
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        asyncio.run(serve())
if "says_ready" in sys.argv:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        ready.send(b"READY=1")
while True:
    signal.pause()
