"""A wrapper that makes any ASGI application, under any ASGI server, a worker with the library.

    app = Supervised(app, on_drain=notify_users)

The server owns signals and sockets. The wrapper works between the server and the application.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from wssupervisor.worker.worker import Callback, Worker

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Supervised:
    """An ASGI application that wraps another. `busy(scope)`: whether its WebSocket is in use."""

    def __init__(
        self,
        app: Application,
        *,
        on_drain: Callback | None = None,
        on_resume: Callback | None = None,
        busy: Callable[[Scope], bool] | None = None,
    ) -> None:
        self._app = app
        self._busy = busy
        self._worker = Worker(on_drain, on_resume, owns_process=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "lifespan":
                await self._lifespan(scope, receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case _:
                await self._app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Report ready when the application has started, even if it does not support lifespans."""
        async with self._worker as worker:
            started = False

            async def heard(message: Message) -> None:
                nonlocal started
                started = started or message["type"].startswith("lifespan.startup")
                await send(message)
                if message["type"] == "lifespan.startup.complete":
                    worker.ready()

            try:
                await self._app(scope, receive, heard)
            except Exception:
                if started:
                    raise
                await self._own_lifespan(receive, heard)

    @staticmethod
    async def _own_lifespan(receive: Receive, send: Send) -> None:
        """Answer the lifespan in place of an application that does not support it."""
        await send({"type": "lifespan.startup.complete"})
        while (await receive())["type"] != "lifespan.shutdown":
            pass
        await send({"type": "lifespan.shutdown.complete"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        closed: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def close(code: int, reason: str) -> None:
            if not closed.done():
                await send({"type": "websocket.close", "code": code, "reason": reason})
                closed.set_result({"type": "websocket.disconnect", "code": code, "reason": reason})

        def is_busy() -> bool:
            return self._busy is not None and self._busy(scope)

        with self._worker.track(close, is_busy) as connection:

            async def hear() -> Message:
                message = await _first(receive, closed)
                connection.touch()
                return message

            async def say(message: Message) -> None:
                if closed.done():
                    return  # the application has not received the disconnect yet
                connection.touch()
                await send(message)

            await self._app(scope, hear, say)


async def _first(receive: Receive, closed: "asyncio.Future[Message]") -> Message:
    """Return the next message of the client, or the disconnect after our close."""
    hearing = asyncio.ensure_future(receive())
    try:
        await asyncio.wait({hearing, closed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not hearing.done():
            hearing.cancel()
    return closed.result() if closed.done() else hearing.result()
