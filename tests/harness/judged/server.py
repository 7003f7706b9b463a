"""A server of `websockets` on descriptor 3."""

import asyncio
import socket

from badness import BAD, NEVER, begin, serving
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

begin()

STATUS = {"500": 500, "redirects": 302}


async def answer(connection: ServerConnection, request: Request) -> Response | None:
    if BAD == "silent":
        await asyncio.sleep(NEVER)
    if BAD in STATUS or request.path == "/healthz":
        response = connection.respond(STATUS.get(BAD, 200), "")
        if BAD == "redirects":
            response.headers["Location"] = "ws://127.0.0.1:1/"
        return response
    return None


async def talk(connection: ServerConnection) -> None:
    if BAD == "leaves":
        return
    async for message in connection:
        await connection.send(message[::-1] if BAD == "wrong" else message)


async def main() -> None:
    async with serve(talk, sock=socket.socket(fileno=3), process_request=answer, open_timeout=None):
        serving()
        await asyncio.Future()


asyncio.run(main())
