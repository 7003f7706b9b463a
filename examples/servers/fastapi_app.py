"""A FastAPI application, which uvicorn serves: greets each client and echoes its messages."""

import os

from fastapi import FastAPI, WebSocket

GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"

app = FastAPI()


@app.get("/healthz")
async def healthz():
    return GREETING


@app.websocket("/")
async def echo(connection: WebSocket):
    await connection.accept()
    await connection.send_text(GREETING)
    async for message in connection.iter_text():
        await connection.send_text(message)
