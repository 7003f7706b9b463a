"""A Quart application, which hypercorn serves: greets each client and echoes its messages."""

import os

from quart import Quart, websocket

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"

app = Quart(__name__)


@app.get("/healthz")
async def healthz():
    return GREETING


@app.websocket("/")
async def echo():
    await websocket.send(GREETING)
    while True:
        await websocket.send(await websocket.receive())
