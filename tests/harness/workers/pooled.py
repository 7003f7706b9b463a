"""An ASGI application that works in a pool of processes; its one argument: how they are started.

Each message to a WebSocket is answered by one of them. With "fork" they inherit all that the server
has open: its listening socket, connections, epoll, channel and notify socket.
"""

import asyncio
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import uvicorn

HELPERS = 2
pool: ProcessPoolExecutor | None = None


def helper() -> str:
    return str(os.getpid())


async def app(scope: Any, receive: Any, send: Any) -> None:
    global pool  # noqa: PLW0603 - made at the first message, as applications do
    if scope["type"] != "websocket":
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] != "websocket.receive":
            continue
        if pool is None:
            pool = ProcessPoolExecutor(HELPERS, multiprocessing.get_context(sys.argv[1]))
        found = [pool.submit(helper) for _ in range(HELPERS)]
        pids = [await asyncio.wrap_future(one) for one in found]
        text = f"{os.environ['WSSUPERVISOR_WORKER']} {os.getpid()} {' '.join(pids)}"
        await send({"type": "websocket.send", "text": text})


if __name__ == "__main__":
    uvicorn.run(app, fd=3, log_level="warning", ws_ping_interval=None)
