"""aiohttp on an inherited socket: `run_app` takes the socket and its backlog."""

import os
import socket

from aiohttp import WSMsgType, web

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"


async def echo(request):
    connection = web.WebSocketResponse()
    await connection.prepare(request)
    await connection.send_str(GREETING)
    async for message in connection:
        if message.type is WSMsgType.TEXT:
            await connection.send_str(message.data)
    return connection


app = web.Application()
app.add_routes([web.get("/", echo)])
web.run_app(app, sock=socket.socket(fileno=3), backlog=4096, print=None, access_log=None)
