"""A client process that measures the echoes per second of a few WebSockets under full load.

Each connection has `window` messages under way. The expected bytes are known, so the client
compares instead of parsing: it shares its cores with the server, and must not be the bottleneck.

The client opens its connections. For every byte on standard input it then talks for `seconds` and
appends a line to its report, until standard input closes.
"""

import json
import os
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from examples.load.counters import CountersWriter
from examples.load.dial import dial
from examples.load.wire import SERVER_TEXT, Opcode, WireError, client_frame

STDIN = 0
OPEN_TIMEOUT = 20.0
GO_WITHIN = 120.0
LAST_ECHOES_WITHIN = 5.0
READ_BYTES = 64 * 1024
TRIES = 10  # for each wanted connection


@dataclass(frozen=True, slots=True)
class EchoOptions:
    host: str
    port: int
    report: str
    counters: str
    per_worker: int = 32
    """Connections to each worker. Their distribution affects the speed of a server."""
    workers: int = 2
    window: int = 1
    seconds: float = 2.0
    size: int = 64
    path: str = "/"
    source: str = "127.8.0.1"


class Connection:
    """One open WebSocket, after its greeting."""

    def __init__(self, options: EchoOptions) -> None:
        self.sock, greeting = dial(
            options.host,
            options.port,
            source=options.source,
            timeout=OPEN_TIMEOUT,
            path=options.path,
        )
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.pid = greeting.pid
        self.rest = b""

    def read_echoes(self, echo: bytes) -> int:
        """Return the number of whole echoes. Raises WireError if they differ from the messages."""
        data = self.sock.recv(READ_BYTES)
        if not data:
            raise WireError("EOF while echoes were under way")
        data = self.rest + data
        count = len(data) // len(echo)
        whole = count * len(echo)
        if data[:whole] != echo * count:
            raise WireError("an echo is not what was sent")
        self.rest = data[whole:]
        return count


class Echo:
    def __init__(self, options: EchoOptions) -> None:
        self._options = options
        payload = b"x" * options.size
        self._message = client_frame(Opcode.TEXT, payload)
        self._echo = bytes((SERVER_TEXT, options.size)) + payload
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._under_way = 0
        self._echoes = 0

    def open(self) -> None:
        """Open the same number to each worker or, if that fails, as many as wanted in all."""
        options = self._options
        by_worker: Counter[int] = Counter()
        wanted = options.per_worker * options.workers
        tries = 0
        while len(self._connections) < wanted:
            tries += 1
            connection = Connection(options)
            if by_worker[connection.pid] >= options.per_worker and tries < TRIES * wanted:
                _say_goodbye(connection)
                continue
            by_worker[connection.pid] += 1
            self._connections[connection.sock.fileno()] = connection
            self._epoll.register(connection.sock.fileno(), select.EPOLLIN)

    def talk(self) -> dict[str, float]:
        """Run one round; count the echoes within `seconds`, and all with those that come later."""
        self._echoes = 0
        begun = time.monotonic()
        end = begun + self._options.seconds
        for connection in self._connections.values():
            self._say(connection, self._options.window)
        while time.monotonic() < end:
            self._read(answer=True)
        seconds, within = time.monotonic() - begun, self._echoes
        limit = time.monotonic() + LAST_ECHOES_WITHIN
        while self._under_way and time.monotonic() < limit:
            self._read(answer=False)
        if self._under_way:
            raise WireError(f"{self._under_way} echoes did not come back")
        return {"seconds": seconds, "echoes": within, "total": self._echoes}

    def _read(self, *, answer: bool) -> None:
        for fd, _ in self._epoll.poll(0.01):
            connection = self._connections[fd]
            count = connection.read_echoes(self._echo)
            self._echoes += count
            self._under_way -= count
            if answer and count:
                self._say(connection, count)

    def _say(self, connection: Connection, count: int) -> None:
        # At most one window is under way, and it fits into the buffer of any socket.
        data = self._message * count
        sent = connection.sock.send(data)
        if sent != len(data):
            raise WireError("a window of messages does not fit into the socket's buffer")
        self._under_way += count

    def close(self) -> None:
        for connection in self._connections.values():
            _say_goodbye(connection)
        self._epoll.close()


def _say_goodbye(connection: Connection) -> None:
    connection.sock.send(client_frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))
    connection.sock.close()


def _told_to_go() -> bool:
    readable, _, _ = select.select([STDIN], [], [], GO_WITHIN)
    return bool(readable) and os.read(STDIN, 1) != b""


def main() -> None:
    options = EchoOptions(**json.loads(sys.argv[1]))
    counters = CountersWriter(options.counters)
    echo = Echo(options)
    echo.open()
    count = options.per_worker * options.workers
    rounds = 0
    counters.publish(count, count, 0, rounds)
    with Path(options.report).open("w") as report:
        while _told_to_go():
            print(json.dumps(echo.talk()), file=report, flush=True)
            rounds += 1
            counters.publish(count, count, 0, rounds)
    echo.close()
    counters.close()


if __name__ == "__main__":
    main()
