"""A bad release is refused by what `[ready] by` names, whatever it says of itself.

`./dev bench --only verdicts` prints the same table for more servers.
"""

import asyncio
import json
import socket
from dataclasses import replace

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from tests.harness.verdicts import KINDS, WAYS, Server, judge, ours
from wssupervisor.runtime.workers.helper import ChildOutput, ask_child, module
from wssupervisor.runtime.workers.readiness import judged

UVICORN, WEBSOCKETS = ours()
BEFORE_IT_SERVES = ("dies", "hangs")


@pytest.mark.parametrize(
    ("server", "by"),
    [*((UVICORN, by) for by in WAYS), (WEBSOCKETS, "http"), (WEBSOCKETS, "websocket")],
    ids=lambda one: one.name if isinstance(one, Server) else one,
)
def test_a_bad_release_is_refused_by_what_ready_by_names(
    settings: Settings, server: Server, by: str
) -> None:
    kinds = [
        one
        for one in KINDS
        if by in one.caught and (server is UVICORN or one.name not in BEFORE_IT_SERVES)
    ]
    rows = judge(server, settings, [by], kinds)

    assert len(rows) == len(kinds)
    assert [one for one in rows if not one.right] == []


def test_the_word_of_the_library_does_not_beat_a_probe(settings: Settings) -> None:
    settings.releases.install("polite", "polite")
    good = replace(settings, workers=1, listeners=("ws",))
    wrong = 'send = "ping"\nexpect = "pong"'  # it echoes
    with Daemon(good) as daemon:
        daemon.start()
        before = daemon.active_pids()
        replace(good, ready_by="websocket", ready=wrong, ready_timeout="3s").write()
        done = daemon.ctl("reload")

        assert done.status == 1
        assert "has accepted a connection but not answered yet" in done.err
        assert daemon.active_pids() == before


ANSWERS = {
    "nothing": b"",
    "a zero byte": b"\0",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a status of words": b"HTTP/1.1 fine\r\n\r\n",
    "a huge status": b"HTTP/1.1 99999 Odd\r\n\r\n",
    "no HTTP": b"220 mail.example.org ESMTP\r\n",
    "a redirect to nowhere": b"HTTP/1.1 301 Moved\r\n\r\n",
    "a redirect to no URL": b"HTTP/1.1 302 Found\r\nLocation: ws://[::1:bad\r\n\r\n",
    "a redirect to another scheme": b"HTTP/1.1 308 Moved\r\nLocation: gopher://x/\r\n\r\n",
    "a header of bytes": b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
    "101 alone": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "a wrong key": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
    ),
    "one long line": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_000 + b"\r\n",
    "100 without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000,
    "a bad length": b"HTTP/1.1 500 No\r\nContent-Length: -1\r\n\r\n",
    "chunks that are none": b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("by", ["http", "websocket"])
def test_no_strange_answer_is_a_good_one_or_leaves_the_probe_without_words(by: str) -> None:
    asked = asyncio.run(_ask_all(by))

    assert {name for name, said in asked.items() if judged(said) is None} == set()
    assert {name for name, said in asked.items() if said is None or said.status != 0} == set()


async def _ask_all(by: str) -> dict[str, ChildOutput | None]:
    return {name: await _ask(by, answer) for name, answer in ANSWERS.items()}


async def _ask(by: str, answer: bytes) -> ChildOutput | None:
    """What the probe says of a server that answers so, and ends."""
    question = {"by": by, "address": "127.0.0.1", "port": 1, "path": "/", "seconds": 5.0}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.sendall(answer)
        ours.shutdown(socket.SHUT_WR)
        return await ask_child(
            module("wssupervisor.probe"),
            theirs.fileno(),
            within=HANG_SECONDS,
            question=json.dumps(question),
        )
