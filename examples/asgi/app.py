"""Long jobs over a WebSocket: a plain ASGI application that does not use wssupervisor.

    uvicorn app:app                             by itself
    wssupervisor --config asgi.toml             supervised

Send a number of steps. The server reports each step when it is done. The release that began a job
finishes it, whatever is deployed meanwhile. GET /healthz answers 200.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STEP_SECONDS = 0.05
RELEASE = os.environ.get("RELEASE", "first")


async def app(scope: Message, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "lifespan":
            await lifespan(receive, send)
        case "http":
            await answer(send, 200 if scope["path"] == "/healthz" else 404)
        case "websocket":
            await jobs(receive, send)


async def jobs(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        steps = int(message["text"])
        for step in range(1, steps + 1):
            await asyncio.sleep(STEP_SECONDS)
            text = f"step {step} of {steps} by the {RELEASE} release"
            await send({"type": "websocket.send", "text": text})


async def answer(send: Send, status: int) -> None:
    body = b"ok\n" if status == 200 else b"not found\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})
