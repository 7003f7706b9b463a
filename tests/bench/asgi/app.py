"""Greets each client with the release that was current at its import, and echoes.

The release is the number in the file $BENCH_RELEASE: a process that greets with a new number runs
new code.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

RELEASE = int(Path(os.environ["BENCH_RELEASE"]).read_text(encoding="ascii"))

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "websocket":
        await _talk(receive, send)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _talk(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    greeting = f"generation {RELEASE} process {os.getpid()}"
    await send({"type": "websocket.send", "text": greeting})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        await send({"type": "websocket.send", "text": message["text"]})
