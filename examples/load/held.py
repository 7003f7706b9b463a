"""A client process that holds many WebSockets, checks each echo, and records those that break.

A client is broken if its connection ends before this process ends it, if an echo differs from its
message, or if no echo arrives for `patience` seconds.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from examples.load.counters import CountersWriter
from examples.load.wire import (
    Greeting,
    Opcode,
    Receiver,
    WireError,
    client_frame,
    greeting,
    upgrade_request,
)

TICK = 0.05
OPENING_AT_ONCE = 64
OPEN_TIMEOUT = 30.0
CLOSE_TIMEOUT = 5.0
STDIN = 0


@dataclass(frozen=True, slots=True)
class HeldOptions:
    """If `port` is 0, `host` is the path of an AF_UNIX socket."""

    host: str
    port: int
    report: str
    counters: str
    count: int
    path: str = "/"
    rooms: int = 0  # size of a room, whose clients get all its messages; 0: a plain echo server
    name: str = "client"
    interval: float = 2.0
    patience: float = 30.0
    source: str = "127.9.0.1"
    returns: bool = False  # reconnect after the server has closed the WebSocket
    until_gone: bool = False  # stay until the server closes; stdin and the report are not used


@dataclass(slots=True)
class Tally:
    echoes: int = 0
    wrong: int = 0
    slowest: float = 0.0
    opened: int = 0
    returned: Counter[int] = field(default_factory=Counter)  # by generation
    broken: list[tuple[int, str, float]] = field(default_factory=list)  # (pid, reason, time)


class Client(asyncio.Protocol):
    """One held WebSocket, with at most one message under way."""

    def __init__(
        self,
        number: int,
        options: HeldOptions,
        tally: Tally,
        on_close: Callable[[int], None],
    ) -> None:
        """`on_close` is called with the number of this client after the server closed it."""
        self._number = number
        self._on_close = on_close
        self._options = options
        self._tally = tally
        self._tag = f"{options.name}-{number}".encode()
        self._sequence = 0
        self._receiver = Receiver()
        self._transport: asyncio.Transport | None = None
        self._room = f"/room{number // options.rooms}" if options.rooms else options.path
        self.waiting_since: float | None = None
        self.pid = 0
        self.greeting: Greeting | None = None
        self.over = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        options = self._options
        transport.write(upgrade_request(options.host, options.port, self._room))

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._receiver.feed(data):
                self._on_frame(frame.opcode, frame.payload)
        except WireError as error:
            self.break_off(str(error))

    def _on_frame(self, opcode: int, payload: bytes) -> None:
        match opcode:
            case Opcode.TEXT if self.greeting is None:
                self.greeting = greeting(payload)
                self.pid = self.greeting.pid
                self._tally.opened += 1
                if not self.opened.done():
                    self.opened.set_result(None)
            case Opcode.TEXT:
                self._on_text(payload)
            case Opcode.PING if self._transport is not None:
                self._transport.write(client_frame(Opcode.PONG, payload))
            case Opcode.CLOSE:
                self.break_off(f"closed by the server: {payload[:2].hex()} {payload[2:]!r}")
                self._on_close(self._number)

    def _on_text(self, payload: bytes) -> None:
        if payload == self._message() and self.waiting_since is not None:
            self._tally.echoes += 1
            took = time.monotonic() - self.waiting_since
            self._tally.slowest = max(self._tally.slowest, took)
            self.waiting_since = None
        elif not self._options.rooms or payload.startswith(self._tag + b" "):
            self._tally.wrong += 1

    def _message(self) -> bytes:
        return b"%s message %d" % (self._tag, self._sequence)

    def say(self, now: float) -> None:
        """Send the next message if the last echo has arrived."""
        if self.over or self._transport is None:
            return
        if self.waiting_since is not None:
            if now - self.waiting_since > self._options.patience:
                self.break_off(f"no echo for {self._options.patience:g} s")
            return
        self._sequence += 1
        self.waiting_since = now
        self._transport.write(client_frame(Opcode.TEXT, self._message()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.break_off(f"connection lost: {exc or 'EOF'}")
        if not self.closed.done():
            self.closed.set_result(None)

    def break_off(self, why: str) -> None:
        """Record this client as broken, unless it has ended by itself."""
        if self.over:
            return
        self.over = True
        self._tally.broken.append((self.pid, why, time.monotonic()))
        if not self.opened.done():
            self.opened.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def end(self) -> None:
        """Close politely. Later events do not count."""
        if self.over or self._transport is None:
            return
        self.over = True
        self._transport.write(client_frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))
        self._transport.write_eof()


class Held:
    def __init__(self, options: HeldOptions) -> None:
        self._options = options
        self._tally = Tally()
        self._clients: list[Client] = []
        self._counters = CountersWriter(options.counters)
        self._stop = asyncio.Event()
        self._returning: set[asyncio.Task[None]] = set()

    async def run(self) -> dict[str, object]:
        """Open all, talk until stdin closes (or all are gone), read the last echoes, close."""
        if not self._options.until_gone:
            os.set_blocking(STDIN, False)
            asyncio.get_running_loop().add_reader(STDIN, self._on_stdin)
        await self._open_all()
        await self._talk()
        await self._hear_the_last()
        for client in self._clients:
            client.end()
        closing = [client.closed for client in self._clients if client.greeting]
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        self._publish()
        self._counters.close()
        return self._report()

    def _on_stdin(self) -> None:
        if not os.read(STDIN, 4096):
            asyncio.get_running_loop().remove_reader(STDIN)
            self._stop.set()

    async def _open_all(self) -> None:
        at_once = asyncio.Semaphore(OPENING_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            for number in range(self._options.count):
                group.create_task(self._open(number, at_once))

    async def _open(self, number: int, at_once: asyncio.Semaphore) -> None:
        options = self._options
        client = Client(number, options, self._tally, self._come_back)
        self._clients.append(client)
        async with at_once:
            try:
                async with asyncio.timeout(OPEN_TIMEOUT):
                    await self._connect(client)
                    await client.opened
            except OSError as error:  # TimeoutError is one
                client.break_off(f"never opened: {error!r}")
        self._publish()

    def _come_back(self, number: int) -> None:
        if self._options.returns and not self._stop.is_set():
            task = asyncio.get_running_loop().create_task(self._return(number))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)

    async def _return(self, number: int) -> None:
        client = Client(number, self._options, self._tally, self._come_back)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT):
                await self._connect(client)
                await client.opened
        except OSError as error:
            client.break_off(f"could not return: {error!r}")
            return
        self._clients.append(client)
        if client.greeting is not None:
            self._tally.returned[client.greeting.generation] += 1

    async def _connect(self, client: Client) -> None:
        options, loop = self._options, asyncio.get_running_loop()
        if options.port == 0:
            await loop.create_unix_connection(lambda: client, options.host)
            return
        await loop.create_connection(
            lambda: client, options.host, options.port, local_addr=(options.source, 0)
        )

    async def _talk(self) -> None:
        share = max(1, round(len(self._clients) * TICK / self._options.interval))
        position = 0
        while not self._stop.is_set():
            now = time.monotonic()
            for _ in range(share if self._clients else 0):
                self._clients[position % len(self._clients)].say(now)
                position += 1
            self._publish()
            if self._options.until_gone and all(client.over for client in self._clients):
                return
            try:
                async with asyncio.timeout(TICK):
                    await self._stop.wait()
            except TimeoutError:
                continue

    async def _hear_the_last(self) -> None:
        """Send one more message on every client, to find those that broke silently."""
        limit = time.monotonic() + self._options.patience
        for client in self._clients:
            if client.waiting_since is None:
                client.say(time.monotonic())
        while time.monotonic() < limit:
            if not any(client.waiting_since and not client.over for client in self._clients):
                return
            await asyncio.sleep(TICK)
        for client in self._clients:
            if client.waiting_since is not None:
                client.break_off("no echo at the end")

    def _publish(self) -> None:
        bad = len(self._tally.broken) + self._tally.wrong
        self._counters.publish(self._options.count, self._tally.opened, bad, self._tally.echoes)

    def _report(self) -> dict[str, object]:
        by_worker: dict[str, int] = {}
        for client in self._clients:
            if client.greeting is not None:
                key = f"{client.greeting.generation} {client.pid}"
                by_worker[key] = by_worker.get(key, 0) + 1
        return {
            "count": self._options.count,
            "echoes": self._tally.echoes,
            "wrong": self._tally.wrong,
            "slowest": self._tally.slowest,
            "broken": self._tally.broken,
            "by_worker": by_worker,
            "returned": self._tally.returned,
        }


def main() -> None:
    options = HeldOptions(**json.loads(sys.argv[1]))

    async def run() -> dict[str, object]:
        return await Held(options).run()

    report = asyncio.run(run())
    if not options.until_gone:
        Path(options.report).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
