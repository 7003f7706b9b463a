"""Socket.IO (python-socketio) as an ASGI application, served by uvicorn.

Clients begin with long polling and upgrade to WebSocket: `balance = "client"` brings all requests
of a client to one worker. Other paths go to the plain application in app.py.
"""

import os

import socketio
from app import app as plain

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])


@server.event
async def whoami(sid):
    return GREETING


@server.event
async def echo(sid, message):
    return message


app = socketio.ASGIApp(server, plain)
