"""Answers to the real probe programs: only a right one passes, and each gets a verdict."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import sys
import threading
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any, NoReturn

from examples.load.waiting import HANG_SECONDS
from tests.fuzz import inputs
from tests.fuzz.target import Target, Wrong
from tests.harness.settings import HOST
from wssupervisor import probe
from wssupervisor.runtime.workers import readiness
from wssupervisor.runtime.workers.helper import ChildOutput, ask_child, module

SECONDS = 60.0
"""The probe's own limit. Our server always ends its side at once, so no probe may need it."""
REASON_CHARS = 300
WHOLE = 0.04
"""The share of inputs that get a new process. The others get a fork with all imports done."""
KEY = re.compile(rb"sec-websocket-key: *([^\r\n]+)", re.IGNORECASE)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
ACCEPT = b"@ACCEPT@"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: @ACCEPT@\r\n\r\n"
)
PONG, CLOSE = b"\x81\x04pong", b"\x88\x02\x03\xe8"
FRAMES = (
    PONG, CLOSE, b"\x81\x04pang", b"\x01\x02po", b"\x80\x02ng", b"\x89\x00", b"\x8a\x01x",
    b"\x82\x04pong", b"\xc1\x04pong",
    b"\x81\x84\0\0\0\0pong", b"\x81\x7e\xff\xff", b"\x81\x7f" + b"\xff" * 8, b"\x81\x02\xff\xfe",
    b"\x88\x01x", b"\x88\x02\x00\x00",
    b"\x8b\x00", b"\x89\x7e\x00\x80" + b"x" * 128, b"\x81\x00", b"\x81\x04png\x00",
)  # fmt: skip
STATUSES = (
    100,
    101,
    102,
    103,
    199,
    200,
    204,
    206,
    226,
    299,
    300,
    301,
    302,
    303,
    307,
    308,
    400,
    404,
    426,
    500,
    503,
    999,
)
QUESTION: dict[str, Any] = {
    "address": HOST,
    "port": 8765,
    "path": "/healthz",
    "seconds": SECONDS,
    "host": None,
    "headers": {},
    "subprotocol": None,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """`good`: whether it is right, where that is known."""

    by: str
    data: bytes
    good: bool | None = None
    whole: bool = False

    @property
    def question(self) -> str:
        own = {"send": "ping", "expect": "pong"} if self.by == "websocket" else {}
        return json.dumps({"send": None, "expect": None, **QUESTION, **own, "by": self.by})


class ProbeAnswers(Target[Reply]):
    name = "probe"
    fails = (
        "a probe passes for a wrong answer, or fails for a right one; it dies, exits with another"
        " status, waits for more than it was sent, or gives no verdict; its reason is long or not"
        " printable"
    )
    cpu_seconds = 10.0

    def open(self, stack: ExitStack) -> None:
        import websockets.sync.client  # noqa: F401 - forks have them

        self._listening = stack.enter_context(socket.create_server((HOST, 0)))

    def make(self, random: Random) -> Reply:
        whole = random.random() < WHOLE
        if random.random() < 0.4:
            data, good = _http(random)
            return Reply("http", data, good, whole)
        data, good = _websocket(random)
        return Reply("websocket", data, good, whole)

    def judge(self, given: Reply) -> None:
        with socket.create_connection(self._listening.getsockname()) as client:
            server, _ = self._listening.accept()
            with server:
                said, sent = (_asked_whole if given.whole else _asked_fork)(client, server, given)
        reason = readiness.judged(said)
        if said is None or said.status != 0 or (reason and "no verdict" in reason):
            raise Wrong(f"it {reason}: {said}")
        if reason is not None and f"within {SECONDS:g}s" in reason:
            raise Wrong(f"all was sent, and it waited: {reason}")
        if reason is not None and (not reason.isprintable() or len(reason) > REASON_CHARS):
            raise Wrong(f"the reason is not short and printable: {ascii(reason)[:400]}")
        if given.good is not None and given.good != (reason is None):
            raise Wrong(f"it is {'right' if given.good else 'wrong'}, and the probe said: {reason}")
        if reason is None and not _may_be_right(given.by, sent):
            raise Wrong(f"it passed with {sent[:300]!r}")


def _may_be_right(by: str, sent: bytes) -> bool:
    if by == "http":
        return re.search(rb"HTTP/[^\r\n]*[ \t]2[0-9][0-9]", sent) is not None
    _, _, frames = sent.partition(b"\r\n\r\n")
    said = re.search(rb"p.*o.*n.*g", frames, re.DOTALL)  # in one frame, or in some
    return sent.startswith(b"HTTP/1.1 101") and said is not None and ACCEPT not in sent


def _http(random: Random) -> tuple[bytes, bool | None]:
    match random.randrange(5):
        case 0 | 1:
            status = random.choice(STATUSES[4:])
            location = b"Location: http://127.0.0.1:1/\r\n" if random.random() < 0.5 else b""
            head = f"HTTP/1.1 {status} Text\r\nContent-Length: 0\r\n".encode()
            return head + location + b"\r\n", 200 <= status < 300
        case 2:
            return b"HTTP/1.1 100 Continue\r\n\r\n" * random.randrange(4) + OK, True
        case 3:
            headers = b"X: y\r\n" * random.choice((99, 200, 100_000))
            return OK.replace(b"Connection", headers + b"Connection"), None
        case _:
            return inputs.mutated(random, OK), None


def _websocket(random: Random) -> tuple[bytes, bool | None]:
    match random.randrange(8):
        case 0:
            before = random.choice((b"", b"\x89\x00", b"\x81\x02hi", b"\x81\x00" * 50))
            return UPGRADED + before + PONG + CLOSE, True
        case 1:
            wrong = random.choice((b"", CLOSE, b"\x81\x04pang" + CLOSE, b"\x82\x04pong" + CLOSE))
            return UPGRADED + wrong, False
        case 2:
            status = random.choice([one for one in STATUSES if one > 101])
            where = random.choice((b"ws://127.0.0.1:1/", b"/", b"http://[", b"\xff", b""))
            head = f"HTTP/1.1 {status} Text\r\nContent-Length: 0\r\nLocation: ".encode()
            return head + where + b"\r\n\r\n", False
        case 3:
            accept = random.choice((b"", b"AAAA", b"@ACCEPT@x", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
            return UPGRADED.replace(ACCEPT, accept) + PONG, False
        case 4 | 5:
            return UPGRADED + b"".join(random.choices(FRAMES, k=random.randrange(1, 9))), None
        case 6:
            more = random.choice(
                (
                    b"Sec-WebSocket-Extensions: permessage-deflate; x=1",
                    b"Sec-WebSocket-Protocol: mqtt",
                )
            )
            return UPGRADED.replace(
                b"Upgrade: websocket", b"Upgrade: websocket\r\n" + more
            ) + PONG, False
        case _:
            return inputs.mutated(random, UPGRADED + PONG + CLOSE), None


# -- the server's side ------------------------------------------------------------------------


def _serve(server: socket.socket, data: bytes) -> bytes:
    """Read the request, answer, and end; returns what was sent."""
    server.settimeout(HANG_SECONDS)
    asked = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in asked and (more := server.recv(1 << 16)):
            asked += more
    key = KEY.search(asked)
    accept = b"" if key is None else base64.b64encode(hashlib.sha1(key[1].strip() + GUID).digest())
    data = data.replace(ACCEPT, accept) if accept else data
    head, blank, rest = data.partition(b"\r\n\r\n")
    with contextlib.suppress(OSError):
        server.sendall(head + blank)
        if accept and blank and head.startswith(b"HTTP/1.1 101 "):
            server.recv(1 << 16)  # its message, or its end
        server.sendall(rest)
        server.shutdown(socket.SHUT_WR)
        while server.recv(1 << 16):
            pass
    server.close()
    return data


# -- the probe's side -------------------------------------------------------------------------


def _asked_whole(
    client: socket.socket, server: socket.socket, given: Reply
) -> tuple[ChildOutput | None, bytes]:
    """As the daemon asks: a process of its own, from nothing."""
    sent: list[bytes] = []
    thread = threading.Thread(target=lambda: sent.append(_serve(server, given.data)))
    thread.start()
    try:
        said = asyncio.run(
            ask_child(
                module("wssupervisor.probe"),
                client.fileno(),
                within=HANG_SECONDS,
                question=given.question,
            )
        )
    finally:
        client.close()
        thread.join()
    return said, sent[0]


def _asked_fork(
    client: socket.socket, server: socket.socket, given: Reply
) -> tuple[ChildOutput, bytes]:
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # beside threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        _be_probe(client.fileno(), writing, given.question)
    try:
        os.close(writing)
        client.close()
        sent = _serve(server, given.data)
        with os.fdopen(reading, "rb") as pipe:
            text = pipe.read(1 << 20).decode("utf-8", "replace").strip()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        child = 0
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return ChildOutput(text, None if status < 0 else status), sent


def _be_probe(client: int, output: int, question: str) -> NoReturn:
    """In the fork: with the descriptors that the daemon gives it."""
    status = 1
    try:
        asked = os.memfd_create("question")
        os.write(asked, question.encode())
        os.lseek(asked, 0, os.SEEK_SET)
        null = os.open(os.devnull, os.O_WRONLY)
        client = os.dup(client)  # above 3
        for number, at in ((asked, 0), (output, 1), (null, 2), (client, probe.CONNECTION)):
            os.dup2(number, at)
        os.closerange(probe.CONNECTION + 1, 1 << 12)
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115
        probe.main()
        sys.stdout.flush()
        status = 0
    finally:
        os._exit(status)
