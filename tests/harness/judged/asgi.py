"""For uvicorn, hypercorn and gunicorn with workers of uvicorn: answers as $BAD says."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from badness import BAD, NEVER, begin, serving

begin()

Message = dict[str, Any]
STATUS = {"500": 500, "redirects": 302}
WHERE = [(b"location", b"ws://127.0.0.1:1/"), (b"content-length", b"0")]


async def app(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
            serving()
    if BAD == "silent":
        await asyncio.sleep(NEVER)
    if scope["type"] == "http":
        await send(
            {"type": "http.response.start", "status": STATUS.get(BAD, 200), "headers": WHERE}
        )
        await send({"type": "http.response.body"})
        return
    await receive()  # websocket.connect
    if BAD in STATUS and "websocket.http.response" in scope.get("extensions", {}):
        start = {"type": "websocket.http.response.start", "status": STATUS[BAD], "headers": WHERE}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": b""})
        return
    if BAD in STATUS:
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    if BAD == "leaves":
        await send({"type": "websocket.close", "code": 1011})
        return
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text") or ""
        await send({"type": "websocket.send", "text": text[::-1] if BAD == "wrong" else text})
