"""Long polling as SockJS and SignalR do it, on aiohttp: sessions live in the process.

SockJS is the library `sockjs`. There is no SignalR server for Python: what is here speaks its long
polling (negotiate, GET to receive, POST to send, records of JSON that end with 0x1E), and echoes. A
session that is not known is answered with 404, as by both.
"""

import asyncio
import json
import secrets
import socket
from typing import Any

import sockjs
from aiohttp import web

RECORD_END = "\x1e"
POLL_SECONDS = 5.0


class Hub:
    """Sessions by their token: messages that wait for a poll."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Queue[str]] = {}
        self._polled: set[str] = set()

    async def negotiate(self, _: web.Request) -> web.Response:
        token = secrets.token_hex(8)
        self._waiting[token] = asyncio.Queue()
        transports = [{"transport": "LongPolling", "transferFormats": ["Text"]}]
        own = {"connectionToken": token, "connectionId": token, "negotiateVersion": 1}
        return web.json_response({**own, "availableTransports": transports})

    async def poll(self, request: web.Request) -> web.Response:
        token, waiting = self._session(request)
        if token not in self._polled:  # the first poll only shows that there is a session
            self._polled.add(token)
            return web.Response()
        async with asyncio.timeout(POLL_SECONDS):
            return web.Response(text=await waiting.get())

    async def send(self, request: web.Request) -> web.Response:
        _, waiting = self._session(request)
        message = await request.text()
        hello = message.endswith(RECORD_END) and "protocol" in json.loads(message[:-1])
        waiting.put_nowait("{}" + RECORD_END if hello else message)
        return web.Response()

    def _session(self, request: web.Request) -> tuple[str, "asyncio.Queue[str]"]:
        token = request.query.get("id", "")
        if token not in self._waiting:
            raise web.HTTPNotFound(text="No Connection with that ID")
        return token, self._waiting[token]


async def echo(_: Any, session: Any, message: Any) -> None:
    if message.type == sockjs.MsgType.MESSAGE:
        session.send(message.data)


hub = Hub()
app = web.Application()
sockjs.add_endpoint(app, echo, name="echo", prefix="/echo/")
app.add_routes(
    [
        web.post("/hub/negotiate", hub.negotiate),
        web.get("/hub", hub.poll),
        web.post("/hub", hub.send),
    ]
)
web.run_app(app, sock=socket.socket(fileno=3), backlog=4096, print=None, access_log=None)
