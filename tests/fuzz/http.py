"""Requests to a real daemon's HTTP listener: a foreign Host or Origin gets no page."""

import contextlib
import http.client
import io
import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

from tests.fuzz import inputs
from tests.fuzz.stage import HOST_NAME, Stage, Watched
from tests.fuzz.target import Target, Wrong
from tests.harness.settings import HOST

ANSWER_SECONDS = 10.0
ANSWER_BYTES = 1 << 20
REQUEST_BYTES = 512 << 10
STATUSES = frozenset({200, 400, 403, 404, 405, 413, 414, 421, 431, 501, 505})
PATHS = ("/livez", "/readyz", "/metrics", "/metrics?x=/livez")
OTHER_PATHS = (
    "/",
    "//livez",
    "/livez/",
    "/LIVEZ",
    "/../livez",
    "/%6civez",
    "/metrics%00",
    "*",
    "/x#/livez",
    "http://localhost/livez",
    "http://evil.example/livez",
)
FOREIGN = (
    "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "metrics.example.org.evil",
    "127.0.0.2", "[::2]", "evil.example:80", "0", "localhost@evil.example", "",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """`status`: the only right one, where that is known; `never`: 200 would be wrong."""

    data: bytes
    status: int | None = None
    never: bool = False


class HttpListener(Target[Request]):
    name = "http"
    fails = (
        "no answer and no end within 10 s; an answer that is not HTTP; a status of 500; a page for"
        " a foreign Host, Origin or site; a right request that is refused; an internal error of the"
        " daemon; the daemon exits or grows"
    )

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def open(self, stack: ExitStack) -> None:  # noqa: ARG002 - it owns nothing
        self._watched = Watched(self._stage)

    def make(self, random: Random) -> Request:
        own = self._own(random)
        match random.randrange(8):
            case 7:
                return _fetched(random, own)
            case 0:
                method = random.choice(("GET", "HEAD"))
                return Request(_head(method, random.choice(PATHS), [("Host", own)]), status=200)
            case 1:
                hosts = [("Host", random.choice(FOREIGN))]
                hosts += random.choice(([], [], [("host", own)]))
                random.shuffle(hosts)
                head = _head("GET", random.choice(PATHS), hosts)
                version = random.choice((b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"))
                return Request(head.replace(b"HTTP/1.1", version, 1), never=True)
            case 2:
                origin = random.choice(("http://", "https://", "", "null")) + random.choice(FOREIGN)
                headers = [("Host", own), ("Origin", origin)]
                random.shuffle(headers)
                return Request(_head("GET", random.choice(PATHS), headers), never=True)
            case 3:
                method = random.choice(("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "PRI"))
                head = _head(method, random.choice(PATHS), [("Host", own)])
                return Request(head + b"x" * random.choice((0, 5, 70_000)), never=True)
            case 4:
                path = random.choice(OTHER_PATHS)
                return Request(_head("GET", path, [("Host", own)]), never=True)
            case 5:
                size = random.choice(inputs.LONG)
                more = random.choice(([("X", "y" * size)], [("X", "y")] * (size // 10)))
                return Request(_head("GET", "/livez", [("Host", own), *more])[:REQUEST_BYTES])
            case _:
                host = random.choice((own, *FOREIGN))
                foreign = host in FOREIGN and host != ""
                data = _head("GET", random.choice(PATHS), [("Host", host)])
                spoilt = inputs.mutated(random, data)[:REQUEST_BYTES]
                kept = f"host: {host}\r\n".encode() in spoilt.lower()
                return Request(spoilt, never=foreign and kept)

    def _own(self, random: Random) -> str:
        name = random.choice((HOST, "localhost", "LOCALHOST", "[::1]", HOST_NAME))
        return random.choice((name, f"{name}:{self._stage.http_port}"))

    def judge(self, given: Request) -> None:
        with socket.create_connection((HOST, self._stage.http_port), ANSWER_SECONDS) as client:
            with contextlib.suppress(OSError):  # it may have hung up
                client.sendall(given.data)
                client.shutdown(socket.SHUT_WR)
            answer = _answer(client)
        self._watched.judge_cpu()
        if not answer:
            if given.status is not None:
                raise Wrong("no answer")
            return
        status = _status(answer)
        if status not in STATUSES:
            raise Wrong(f"status {status}: {answer[:300]!r}")
        if given.never and status == 200:
            raise Wrong(f"it was answered: {answer[:300]!r}")
        if given.status is not None and status != given.status:
            raise Wrong(f"status {status}, not {given.status}: {answer[:300]!r}")

    def check(self) -> None:
        self._watched.check()


def _fetched(random: Random, own: str) -> Request:
    """As a browser marks what a page, or its user, has it fetch."""
    site = random.choice(("cross-site", "same-site", "same-origin", "none", "", "Cross-Site "))
    mode = random.choice(("no-cors", "navigate", "cors", "websocket"))
    where = random.choice(("image", "document", "iframe", "empty"))
    headers = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", where)]
    random.shuffle(headers)
    head = _head("GET", random.choice(PATHS), [("Host", own), *headers])
    if site in ("same-origin", "none") or (mode, where) == ("navigate", "document"):
        return Request(head, status=200)
    return Request(head, never=True)


def _head(method: str, path: str, headers: list[tuple[str, str]]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {one}" for name, one in headers), "", ""]
    return "\r\n".join(lines).encode()


def _answer(client: socket.socket) -> bytes:
    found = b""
    try:
        while data := client.recv(1 << 16):
            found += data
            if len(found) > ANSWER_BYTES:
                raise Wrong(f"an answer of more than {ANSWER_BYTES} bytes")
    except ConnectionResetError:
        pass  # it sent more than is read off
    except TimeoutError:
        raise Wrong(f"no end within {ANSWER_SECONDS:g} s") from None
    return found


class _Read:
    """What http.client reads from in place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


def _status(answer: bytes) -> int:
    if not re.match(rb"HTTP/1\.1 [1-5][0-9][0-9] [ -~]*\r\n", answer):
        raise Wrong(f"that is not HTTP: {answer[:100]!r}")
    response = http.client.HTTPResponse(_Read(answer))  # type: ignore[arg-type]
    response.begin()
    return response.status
