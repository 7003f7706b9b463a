"""Clients of Socket.IO, SockJS and SignalR-like long polling, each from an address of its own.

Run in a machine that has aiohttp and python-socketio:

    polling.py KIND PORT CLIENTS ROUNDS PATIENCE [FILE]

KIND is socketio (default transports: polling, then an upgrade to WebSocket), socketio-polling,
sockjs, signalr or signalr-kept. Each client opens a session and sends ROUNDS messages that must
come back, each within PATIENCE seconds. Each request opens a connection of its own, except for
signalr-kept, which keeps one.
With FILE all clients wait after their first message until there is such a file. A failure ends the
session and is counted by its reason; the client begins another session, at most AGAIN times.
Prints one JSON object: sessions that were begun, that ended early, and clients that did all rounds
in one session (`done`), in several (`done_later`), or never.
"""

import asyncio
import contextlib
import json
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

AGAIN = 1
GOODBYE_SECONDS = 2.0


class Lost(Exception):
    """The session ended early."""


Exchange = Callable[[str], Awaitable[None]]
"""Sends a message and waits until it has come back. Raises Lost."""


async def _text(response: aiohttp.ClientResponse) -> str:
    if response.status not in (200, 202, 204):
        raise Lost(f"status {response.status}")
    found: str = await response.text()
    return found


@contextlib.asynccontextmanager
async def socketio(
    http: aiohttp.ClientSession, url: str, transports: list[str] | None = None
) -> AsyncIterator[Exchange]:
    import socketio

    # Each step is bounded by the patience of the client.
    client = socketio.AsyncClient(http_session=http, reconnection=False, request_timeout=3600)
    try:
        await client.connect(url, transports=transports, wait_timeout=3600)
    except socketio.exceptions.ConnectionError as error:
        raise Lost(f"connect: {error}") from error

    async def exchange(message: str) -> None:
        try:
            answer = await client.call("echo", message, timeout=3600)
        except (socketio.exceptions.SocketIOError, TimeoutError) as error:
            raise Lost(f"call: {type(error).__name__}") from error
        if answer != message:
            raise Lost(f"answer: {answer}")

    try:
        yield exchange
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await client.disconnect()


def socketio_polling(
    http: aiohttp.ClientSession, url: str
) -> contextlib.AbstractAsyncContextManager[Exchange]:
    return socketio(http, url, ["polling"])


@contextlib.asynccontextmanager
async def sockjs(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Exchange]:
    session = f"{url}/echo/000/{secrets.token_hex(8)}"

    async def receive() -> str:
        async with http.post(f"{session}/xhr") as response:
            return (await _text(response)).strip()

    opened = await receive()
    if opened != "o":
        raise Lost(f"open: {opened}")

    async def exchange(message: str) -> None:
        async with http.post(f"{session}/xhr_send", data=json.dumps([message])) as response:
            await _text(response)
        while (answer := await receive()) == "h":
            pass
        if answer != "a" + json.dumps([message], separators=(",", ":")):
            raise Lost(f"answer: {answer}")

    yield exchange


@contextlib.asynccontextmanager
async def signalr(http: aiohttp.ClientSession, url: str) -> AsyncIterator[Exchange]:
    async with http.post(f"{url}/hub/negotiate?negotiateVersion=1") as response:
        token = json.loads(await _text(response))["connectionToken"]
    hub = f"{url}/hub?id={token}"

    async def receive() -> str:
        async with http.get(hub) as response:
            return await _text(response)

    async def send(message: str) -> None:
        async with http.post(hub, data=message) as response:
            await _text(response)

    await receive()  # the first poll answers at once
    await send('{"protocol":"json","version":1}\x1e')
    if await receive() != "{}\x1e":
        raise Lost("handshake")

    async def exchange(message: str) -> None:
        await send(message)
        if await receive() != message:
            raise Lost("answer")

    yield exchange


KINDS = {
    "socketio": socketio,
    "socketio-polling": socketio_polling,
    "sockjs": sockjs,
    "signalr": signalr,
    "signalr-kept": signalr,
}


class Middle:
    """All clients wait here after their first message, until a file is made."""

    def __init__(self, clients: int, file: str) -> None:
        self._missing, self._file = clients, Path(file)

    async def wait(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            print("all in the middle", flush=True)
        while not self._file.exists():
            await asyncio.sleep(0.05)


@dataclass
class Kind:
    name: str
    port: str
    rounds: int
    patience: float
    middle: Middle | None
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    async def client(self, source: str) -> None:
        """All rounds, in as many sessions as it takes."""
        todo = [f"{source} {number}" for number in range(self.rounds)]
        kept = self.name.endswith("-kept")
        for attempt in range(1 + AGAIN):
            self.counts["sessions"] += 1
            connector = aiohttp.TCPConnector(local_addr=(source, 0), force_close=not kept)
            async with aiohttp.ClientSession(connector=connector) as http:
                try:
                    await self._session(http, todo)
                except (Lost, aiohttp.ClientError, TimeoutError) as error:
                    self.counts["ended_early"] += 1
                    self.reasons[str(error) or type(error).__name__] += 1
                else:
                    self.counts["done" if attempt == 0 else "done_later"] += 1
                    return
        self.counts["never_done"] += 1

    async def _session(self, http: aiohttp.ClientSession, todo: list[str]) -> None:
        """One session, until all is done that is still to do."""
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self.patience):
                own = KINDS[self.name](http, f"http://127.0.0.1:{self.port}")
                exchange = await stack.enter_async_context(own)
            while todo:
                async with asyncio.timeout(self.patience):
                    await exchange(todo[0])
                del todo[0]
                if self.middle is not None and len(todo) == self.rounds - 1:
                    await self.middle.wait()


async def main(name: str, port: str, clients: str, rounds: str, patience: str, *file: str) -> None:
    count = int(clients)
    middle = Middle(count, file[0]) if file else None
    kind = Kind(name, port, int(rounds), float(patience), middle)
    async with asyncio.TaskGroup() as group:
        for at in range(count):
            group.create_task(kind.client(f"127.0.{at // 200 + 1}.{at % 200 + 1}"))
            await asyncio.sleep(0.01)
    names = ("sessions", "done", "done_later", "ended_early", "never_done")
    print(json.dumps({name: kind.counts[name] for name in names} | {"reasons": kind.reasons}))


asyncio.run(main(*sys.argv[1:]))
