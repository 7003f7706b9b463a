"""What proves that a worker accepted, what a probe says to it, and how a probe leaves it."""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import Daemon
from tests.harness.settings import HOST, Settings
from wssupervisor.probe_verdict import GOOD, WRONG
from wssupervisor.runtime.listeners.held_probes import HELD_SECONDS
from wssupervisor.runtime.workers.helper import ChildOutput
from wssupervisor.runtime.workers.readiness import judged

BEFORE_THE_PROBE_LEAVES = HELD_SECONDS / 2
"""A probe that was not released for a client leaves much later."""
MOMENT = 2.0

ACCEPTS = """
import os, socket, struct, sys, time
slot = socket.socket(fileno=3)
slot.setblocking(True)
while True:
    client, _ = slot.accept()
    {do}
"""
CLOSES_AT_ONCE = {
    "greets and closes": "client.send(b'hello'); client.close()",
    "closes": "client.close()",
    "resets": (
        "client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0));"
        " client.send(b'hello'); client.close()"
    ),
    "sends and ends": "client.send(b'x' * 4000000); client.shutdown(socket.SHUT_RDWR)",
    "one process for each": "os.fork() or (client.send(b'hello'), os._exit(0)); client.close()",
}
SHUTS_DOWN = """
import socket, time
slot = socket.socket(fileno=3)
time.sleep(0.5)
slot.shutdown(socket.SHUT_RDWR)
time.sleep(60)
"""
LISTENS_TO_THE_END = """
import asyncio, socket, time
async def served(reader, writer):
    began = time.monotonic()
    said = await reader.read()
    print(f"left after {time.monotonic() - began:.1f}s with {len(said)} bytes", flush=True)
    writer.close()
async def main():
    server = await asyncio.start_server(served, sock=socket.socket(fileno=3), backlog=100)
    await server.serve_forever()
asyncio.run(main())
"""
ONE_AT_A_TIME = ACCEPTS.format(do="client.recv(100) and client.send(b'served'); client.close()")
ASKS = """
import asyncio, glob, os, socket
from websockets.asyncio.server import serve
PROBES = []
def judge(connection, request):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            PROBES.append(open(path).read())
        except OSError:
            pass
    seen = " ".join(PROBES)
    if "wssupervisor.probe" in seen and "hush" in seen:
        print("the secret is in an argument", flush=True)
        return connection.respond(500, "seen\\n")
    if request.headers.get_all("Host") != ["chat.example.org"]:
        return connection.respond(400, "host\\n")
    if request.headers.get("Origin") != "https://chat.example.org":
        return connection.respond(403, "origin\\n")
    if request.headers.get_all("X-Secret") != ["hush"]:
        return connection.respond(401, "secret\\n")
    return connection.respond(200, "fine\\n") if request.path == "/healthz" else None
async def echo(connection):
    async for message in connection:
        await connection.send(message)
async def main():
    sock = socket.socket(fileno=3)
    def choose(connection, offered):
        return "graphql-ws" if "graphql-ws" in offered else None
    async with serve(echo, sock=sock, process_request=judge, select_subprotocol=choose):
        await asyncio.Future()
asyncio.run(main())
"""
REDIRECTS = ACCEPTS.format(
    do=(
        "client.recv(4096); client.send(b'HTTP/1.1 302 Found\\r\\nLocation: ws://127.0.0.1:1/\\r\\n"
        "Content-Length: 0\\r\\n\\r\\n'); client.close()"
    )
)
KILLS_PROBES = """
import os, socket, time
slot = socket.socket(fileno=3)
slot.setblocking(True)
held = [slot.accept()]
while True:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline", "rb").read().split(b"\\0")
            parent = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"wssupervisor.probe" in words and int(parent) == os.getppid():
            os.kill(int(pid), 9)
"""
HEADERS = """[ready.headers]
Origin = "https://chat.example.org"
X-Secret = "hush"
"""


def running(settings: Settings, program: str, **changes: object) -> Settings:
    path = settings.releases.root / "releases/one/server.py"
    path.write_text(program)
    given = {"workers": 1, "listeners": ("ws",), "ready_timeout": "4s", **changes}
    return replace(settings, command=(sys.executable, str(path)), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", CLOSES_AT_ONCE)
def test_a_server_that_closes_each_connection_at_once_is_ready(
    settings: Settings, how: str
) -> None:
    with Daemon(running(settings, ACCEPTS.format(do=CLOSES_AT_ONCE[how]))) as daemon:
        daemon.start()
        before = daemon.active_pids()

        assert daemon.ctl("reload").status == 0
        assert daemon.active_pids() != before


def test_a_reset_by_the_kernel_is_no_proof_of_an_accept(settings: Settings) -> None:
    """It resets what waits in a socket that is shut down."""
    with Daemon(running(settings, SHUTS_DOWN, ready_timeout="2s")) as daemon:
        assert daemon.run_to_its_end() == 1
        assert "was not ready within 2s" in daemon.log()


@pytest.mark.parametrize("by", ["http", "websocket"])
def test_a_probe_says_the_host_the_headers_and_the_subprotocol_and_no_log_has_them(
    settings: Settings, by: str
) -> None:
    lines = 'path = "/healthz"' if by == "http" else 'subprotocol = "graphql-ws"'
    ready = f'{lines}\nhost = "chat.example.org"\n{HEADERS}'
    own = running(settings, ASKS, ready_by=by, ready=ready)
    with Daemon(own, options=["--log-level", "debug"]) as daemon:
        daemon.start()
        said = daemon.ctl("status", "--json").out + daemon.ctl("events", "--json").out

        assert "hush" not in daemon.log() + said
        assert "the secret is in an argument" not in daemon.log()


@pytest.mark.parametrize(
    ("ready", "why"),
    [
        ("", "rejected WebSocket connection: HTTP 400. If it requires a certain Host, Origin"),
        (f'host = "chat.example.org"\n{HEADERS}', ""),
        (
            f'host = "chat.example.org"\nsubprotocol = "mqtt"\n{HEADERS}',
            "it did not take the subprotocol 'mqtt'",
        ),
    ],
)
def test_what_a_server_expects_of_a_handshake_is_advised(
    settings: Settings, ready: str, why: str
) -> None:
    with Daemon(
        running(settings, ASKS, ready_by="websocket", ready=ready, ready_timeout="3s")
    ) as daemon:
        if why:
            assert daemon.run_to_its_end() == 1
            assert why in daemon.log()
        else:
            daemon.start()


def test_a_redirect_is_no_handshake(settings: Settings) -> None:
    own = running(settings, REDIRECTS, ready_by="websocket", ready_timeout="2s")
    with Daemon(own) as daemon:
        assert daemon.run_to_its_end() == 1
        assert "it refused the WebSocket handshake" in daemon.log()


def test_a_probe_that_is_killed_is_a_failure(settings: Settings) -> None:
    """Here by the worker that it asks, which is of the same user."""
    own = running(settings, KILLS_PROBES, ready_by="websocket", ready_timeout="3s")
    with Daemon(own) as daemon:
        assert daemon.run_to_its_end() == 1
        assert "it could not be checked: the probe was killed" in daemon.log()


@pytest.mark.parametrize(
    ("output", "why"),
    [
        (None, "could not be checked: the probe did not end"),
        (ChildOutput("", 0), "could not be checked: the probe gave no verdict"),
        (ChildOutput("goods", 0), "could not be checked: the probe gave no verdict"),
        (ChildOutput(GOOD, 1), "could not be checked: the probe failed with status 1"),
        (ChildOutput(GOOD, None), "could not be checked: the probe was killed"),
        (ChildOutput(f"{WRONG}answered 500", 0), "answered 500"),
        (ChildOutput(GOOD, 0), None),
    ],
)
def test_a_verdict_is_one_word_and_status_0(output: ChildOutput | None, why: str | None) -> None:
    assert judged(output) == why


POISON = "raise SystemExit('taken')\n"
MODULES = ("json", "socket", "runpy", "asyncio", "structlog", "websockets", "sitecustomize")
WHERE = ("the start directory", "PYTHONPATH")


@pytest.mark.parametrize("where", WHERE)
def test_a_probe_takes_no_module_from_where_others_may_write(
    settings: Settings, where: str, tmp_path: Path
) -> None:
    """Modules that the daemon has imported already, when they appear."""
    own = running(
        settings, ASKS, ready_by="websocket", ready=f'host = "chat.example.org"\n{HEADERS}'
    )
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    with Daemon(own, variables={"PYTHONPATH": path}) as daemon:
        place = {WHERE[0]: daemon.private, WHERE[1]: tmp_path}[where]
        daemon.start()
        for name in MODULES:
            (place / f"{name}.py").write_text(POISON)

        assert daemon.ctl("reload").status == 0


def test_a_daemon_takes_no_module_from_the_directory_where_it_is_started(
    settings: Settings,
) -> None:
    """Not even with python -m; and the program after an upgrade does not, either."""
    own = running(settings, ASKS, ready_by="connect")
    with Daemon(own) as daemon:
        for name in MODULES:
            (daemon.private / f"{name}.py").write_text(POISON)
        daemon.start()

        assert daemon.ctl("upgrade").status == 0


@pytest.fixture
def quiet(settings: Settings) -> Iterator[Daemon]:
    with Daemon(running(settings, LISTENS_TO_THE_END, keep="60s")) as daemon:
        yield daemon.start()


def test_a_probe_does_not_leave_before_the_servers_own_limit(quiet: Daemon) -> None:
    time.sleep(MOMENT)

    assert "left after" not in quiet.log()


def test_a_held_probe_is_no_connection(quiet: Daemon) -> None:
    assert [0] == [one["connections"] for one in quiet.status()["generations"][0]["workers"]]
    with closing(socket.create_connection(quiet.settings.target("ws"), HANG_SECONDS)):
        quiet.wait_for(lambda status: status["generations"][0]["connections"] == 1, what="one")
    quiet.wait_for(lambda status: status["generations"][0]["connections"] == 0, what="none")
    assert quiet.ctl("why", "1", "--json").document["peers"] == []


def test_a_held_probe_keeps_no_drain_and_no_stop(settings: Settings) -> None:
    """By the servers' own clocks: neither a probe's end nor a kill was waited for."""
    with Daemon(running(settings, LISTENS_TO_THE_END)) as daemon:
        daemon.start()
        daemon.reload()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="the end of the drain")

        assert daemon.stop() == 0
        held = [float(one) for one in re.findall(r"left after ([0-9.]+)s", daemon.log())]
        assert max(held, default=0.0) < BEFORE_THE_PROBE_LEAVES
        assert "worker killed" not in daemon.log()


def test_a_server_of_one_client_at_a_time_does_not_wait_for_a_probe(settings: Settings) -> None:
    with Daemon(running(settings, ONE_AT_A_TIME)) as daemon:
        daemon.start()
        for _ in range(3):
            with socket.create_connection((HOST, daemon.settings.ws_port), HANG_SECONDS) as client:
                client.settimeout(BEFORE_THE_PROBE_LEAVES)
                client.send(b"hello")

                assert client.recv(100) == b"served"
