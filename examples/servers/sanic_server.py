"""Sanic on an inherited socket: `sock=`, and `single_process=True` so that Sanic does not fork."""

import os
import socket

from sanic import Sanic, text

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"

app = Sanic("chat")


@app.get("/healthz")
async def healthz(request):
    return text(GREETING)


@app.websocket("/")
async def echo(request, connection):
    await connection.send(GREETING)
    async for message in connection:
        await connection.send(message)


if __name__ == "__main__":
    app.run(sock=socket.socket(fileno=3), backlog=4096, single_process=True, motd=False)
