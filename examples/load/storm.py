"""A client process that opens a stream of short connections and records the outcome of each.

One epoll loop, no framework: at a thousand connections a second and more, the client must not be
the bottleneck. Connections begin at a steady rate, whether or not earlier ones were answered, so a
hung server shows as waiting connections, not as a slower storm. Source addresses are spread over
127.x.y.z, so that ephemeral ports in TIME_WAIT never run out.
"""

import errno
import json
import os
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass
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

IP_BIND_ADDRESS_NO_PORT = 24
PUBLISH_EVERY = 0.05
TICK = 0.002
DEBT_LIMIT = 0.1  # a delayed client catches up with at most this many in one burst
ANSWER_LIMIT = 64 * 1024
STDIN = 0


@dataclass(frozen=True, slots=True)
class StormOptions:
    """If `port` is 0, `host` is the path of an AF_UNIX socket."""

    host: str
    port: int
    report: str
    counters: str
    websocket: bool = False
    path: str = "/"
    rate: float = 1000.0
    limit: int = 200_000
    in_flight: int = 4000
    timeout: float = 20.0
    source_net: int = 10
    sources: int = 16


@dataclass(slots=True)
class Connection:
    sock: socket.socket
    start: float
    connected: bool = False
    data: bytes = b""
    receiver: Receiver | None = None


@dataclass(slots=True)
class Note:
    """The outcome of one connection. `error` is empty if the connection was answered."""

    start: float
    end: float
    generation: int
    pid: int
    error: str


class Storm:
    def __init__(self, options: StormOptions) -> None:
        self._options = options
        self._epoll = select.epoll()
        self._open: dict[int, Connection] = {}  # in the order in which they began
        self._notes: list[Note] = []
        self._lost = 0
        self._begun = 0
        self._stopping = False
        self._counters = CountersWriter(options.counters)
        own = options
        self._target = (own.host, own.port) if own.port else own.host
        self._request = upgrade_request(options.host, options.port, options.path)

    def run(self) -> list[Note]:
        """Run until stdin closes or the limit is reached, then until every connection has ended."""
        os.set_blocking(STDIN, False)
        self._epoll.register(STDIN, select.EPOLLIN)
        due = time.monotonic()
        publish = 0.0
        while not self._stopping or self._open:
            for fd, events in self._epoll.poll(TICK):
                self._on_event(fd, events)
            now = time.monotonic()
            self._expire(now)
            due = max(due, now - DEBT_LIMIT)
            while not self._stopping and due <= now and self._may_begin():
                self._begin(self._begun)
                due += 1.0 / self._options.rate
            if now >= publish:
                self._publish()
                publish = now + PUBLISH_EVERY
        self._publish()
        self._epoll.close()
        self._counters.close()
        return self._notes

    def _publish(self) -> None:
        good = len(self._notes) - self._lost
        self._counters.publish(self._begun, good, self._lost, len(self._open))

    def _may_begin(self) -> bool:
        if self._begun >= self._options.limit:
            self._stopping = True
            return False
        return len(self._open) < self._options.in_flight

    def _begin(self, number: int) -> None:
        self._begun += 1
        sock = self._socket(number)
        connection = Connection(sock, time.monotonic())
        result = sock.connect_ex(self._target)
        if result not in {0, errno.EINPROGRESS}:
            self._finish(connection, None, f"connect: {errno.errorcode.get(result, result)}")
            return
        self._open[sock.fileno()] = connection
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _socket(self, number: int) -> socket.socket:
        if self._options.port == 0:
            return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        source = number % self._options.sources
        sock.bind((f"127.{self._options.source_net}.{source // 200}.{source % 200 + 1}", 0))
        return sock

    def _on_event(self, fd: int, events: int) -> None:
        if fd == STDIN:
            if not os.read(STDIN, 4096):
                self._stopping = True
                self._epoll.unregister(STDIN)
            return
        connection = self._open[fd]
        try:
            if not connection.connected:
                self._on_connected(connection)
            elif events:
                self._on_readable(connection)
        except OSError as error:
            step = "read" if connection.connected else "connect"
            name = errno.errorcode.get(error.errno or 0, str(error))
            self._finish(connection, None, f"{step}: {name}")
        except WireError as error:
            self._finish(connection, None, str(error))

    def _on_connected(self, connection: Connection) -> None:
        error = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        connection.connected = True
        if self._options.websocket:
            connection.receiver = Receiver()
            connection.sock.send(self._request)
        self._epoll.modify(connection.sock.fileno(), select.EPOLLIN)

    def _on_readable(self, connection: Connection) -> None:
        data = connection.sock.recv(4096)
        if not data:
            self._finish(connection, None, "EOF before an answer")
            return
        answer = self._answer(connection, data)
        if answer is None:
            return
        if self._options.websocket:
            goodbye = client_frame(Opcode.CLOSE, (1000).to_bytes(2, "big"))
            connection.sock.send(goodbye)
        self._finish(connection, answer, "")

    def _answer(self, connection: Connection, data: bytes) -> Greeting | None:
        if connection.receiver is not None:
            for frame in connection.receiver.feed(data):
                if frame.opcode == Opcode.CLOSE:
                    raise WireError("closed before an answer")
                if frame.opcode == Opcode.TEXT:
                    return greeting(frame.payload)
            return None
        connection.data += data
        if len(connection.data) > ANSWER_LIMIT:
            raise WireError("an answer without an end")
        return greeting(connection.data) if b"\n" in connection.data else None

    def _expire(self, now: float) -> None:
        limit = now - self._options.timeout
        late = []
        for connection in self._open.values():
            if connection.start > limit:
                break
            late.append(connection)
        for connection in late:
            step = "answer" if connection.connected else "connect"
            self._finish(connection, None, f"{step}: timeout")

    def _finish(self, connection: Connection, answer: Greeting | None, error: str) -> None:
        end = time.monotonic()
        self._open.pop(connection.sock.fileno(), None)
        connection.sock.close()  # removes it from the epoll set
        self._lost += bool(error)
        generation, pid = (answer.generation, answer.pid) if answer else (0, 0)
        self._notes.append(Note(connection.start, end, generation, pid, error))


def main() -> None:
    options = StormOptions(**json.loads(sys.argv[1]))
    notes = Storm(options).run()
    with Path(options.report).open("w") as report:
        for note in notes:
            json.dump(list(asdict(note).values()), report)
            report.write("\n")


if __name__ == "__main__":
    main()
