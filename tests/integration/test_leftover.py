"""A worker is more than its main process: helpers, children that serve, wrappers, background jobs.

Some of the servers are real (uvicorn with a process pool), others do what real ones do.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import alive, children_of, workers_of
from tests.harness.daemon import Daemon
from tests.harness.reference import differences, keys
from tests.harness.releases import WORKERS
from tests.harness.settings import Settings

NEW_WITHIN = 1.0
"""For a handshake: what hangs on a helper waits for the verdict, or for ever."""
LONG = "1h"
"""Nothing that a test waits for may be done by SIGKILL."""


def pooled(settings: Settings, method: str, **changes: Any) -> Settings:
    command = (sys.executable, str(WORKERS / "pooled.py"), method)
    given: dict[str, Any] = {"listeners": ("ws",), "command": command, "kill_after": LONG}
    return replace(settings, **given | changes)


class Clients:
    """WebSockets that have had an answer, with the worker's index, its pid and its helpers'."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._uri = "ws://{}:{}".format(*settings.target("ws"))
        self._stack = stack
        self.all: list[tuple[ClientConnection, str, int, list[int]]] = []

    def open(self, within: float = HANG_SECONDS) -> ClientConnection:
        client = connect(self._uri, open_timeout=within, ping_interval=None, close_timeout=0.2)
        return self._stack.enter_context(client)

    def add(self) -> tuple[ClientConnection, str, int, list[int]]:
        client = self.open()
        self.all.append((client, *asked(client)))
        return self.all[-1]

    def add_until(self, enough: Callable[[], bool]) -> None:
        wait_until(lambda: bool(self.add()) and enough(), what="enough clients")


def asked(client: ClientConnection) -> tuple[str, int, list[int]]:
    client.send("who")
    index, pid, *helpers = str(client.recv(timeout=HANG_SECONDS)).split()
    return index, int(pid), sorted({int(one) for one in helpers})


def closed(client: ClientConnection) -> bool:
    try:
        client.recv(timeout=HANG_SECONDS)
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False
    return closed(client)


def events(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    import json

    lines = daemon.ctl("events", "--json").out.splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] == kind]


def counted(daemon: Daemon) -> int:
    return sum(int(one["connections"]) for one in daemon.status()["generations"])


def crashed(daemon: Daemon) -> list[dict[str, Any]]:
    return [one for one in events(daemon, "worker-exited") if not one["expected"]]


METHODS = pytest.mark.parametrize("method", ["fork", "spawn"])


@METHODS
def test_clients_of_a_main_process_that_dies_are_free_at_once_whatever_its_helpers_hold(
    settings: Settings, method: str
) -> None:
    assert waits_of_new_clients(settings, method)


@METHODS
@pytest.mark.alone
def test_new_clients_wait_for_no_helper_of_a_main_process_that_died(
    settings: Settings, method: str
) -> None:
    waits = waits_of_new_clients(settings, method)

    assert [one for one in waits if one > NEW_WITHIN] == []


def waits_of_new_clients(settings: Settings, method: str) -> list[float]:
    """Seconds that each client waited for a handshake after the death; all else is judged here."""
    own = pooled(settings, method)
    with Daemon(own) as daemon, ExitStack() as stack:
        daemon.start()
        clients = Clients(own, stack)
        clients.add_until(
            lambda: (
                {index for _, index, _, _ in clients.all} == {"0", "1"} and len(clients.all) >= 8
            )
        )
        victim = next(pid for _, index, pid, _ in clients.all if index == "0")
        helpers = [one for _, index, _, helpers in clients.all if index == "0" for one in helpers]
        wait_until(lambda: counted(daemon) == len(clients.all), what="their count")
        os.kill(victim, signal.SIGKILL)
        early = [clients.open() for _ in range(3)]
        wait_until(lambda: events(daemon, "main-process-ended"), what="the event")
        waits = []
        for _ in range(60):
            before = time.monotonic()
            clients.open().close()
            waits.append(time.monotonic() - before)
        lost = [client for client, index, _, _ in clients.all if index == "0"]
        kept = [client for client, index, _, _ in clients.all if index == "1"]
        freed = [closed(client) for client in lost]
        daemon.wait_ready(2)
        [note] = events(daemon, "main-process-ended")
        assert [len(asked(client)[2]) for client in early]
        print(f"{method}: longest wait of a new one {max(waits):.3f}")

        assert all(freed)
        assert [asked(client)[0] for client in kept] == ["1"] * len(kept)
        assert note["reason"] == "was killed by SIGKILL"
        if method == "fork":
            assert all(alive(one) for one in helpers), "they handle SIGTERM as the server did"
        for pid in filter(alive, helpers):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: crashed(daemon), what="its end")
        [ended] = crashed(daemon)

        assert ended["connections"] == len(lost)
        assert ended["cause"] == "sigkill"
    return waits


def test_clients_that_have_left_keep_no_generation_though_helpers_hold_their_sockets(
    settings: Settings,
) -> None:
    # The server ends by the signal; its helpers, which inherited its handlers, do not.
    own = replace(pooled(settings, "fork"), workers=1, kill_after="2s")
    with Daemon(own) as daemon, ExitStack() as stack:
        daemon.start()
        clients = Clients(own, stack)
        leave = [clients.open() for _ in range(5)]
        stays, _, main, _ = clients.add()
        daemon.reload()
        for client in leave:
            client.close()
        daemon.wait_for(
            lambda status: status["generations"][1]["connections"] == 1,
            what="five that have left",
        )
        document, text = why(daemon), daemon.ctl("why", "1").out
        helpers = children_of(main)
        assert asked(stays)[1] == main
        stays.close()
        daemon.wait_for(
            lambda status: [one["number"] for one in status["generations"]] == [2],
            what="the end of generation 1",
        )
        [retired] = events(daemon, "generation-retired")

    [first, *_] = document["helpers"]
    assert list(differences(document, list(keys("why.md")))) == []
    assert {one["pid"] for one in document["helpers"]} <= set(helpers)
    assert (first["connections"], first["counted"]) == (5, 0)
    assert f"pid {first['pid']} ({first['command']}) holds 5 sockets of clients" in text
    assert retired["lost"] == 0


def why(daemon: Daemon, generation: int = 1) -> dict[str, Any]:
    return daemon.ctl("why", str(generation), "--json").document


def preforked(settings: Settings, *arguments: str, **changes: Any) -> Settings:
    command = (sys.executable, str(WORKERS / "preforked.py"), *arguments)
    given: dict[str, Any] = {"listeners": ("raw",), "command": command, "workers": 1}
    return replace(settings, **given | changes)


class Line:
    """A connection that was greeted with the pid of the process that serves it."""

    def __init__(self, settings: Settings) -> None:
        path, port = settings.target("raw")
        self.socket = socket.socket(socket.AF_UNIX if settings.unix else socket.AF_INET)
        self.socket.settimeout(HANG_SECONDS)
        self.socket.connect(path if settings.unix else (path, port))
        self._file = self.socket.makefile("rb")
        self.pid = int(self._file.readline())

    def echoes(self) -> bool:
        self.socket.sendall(b"still there\n")
        return self._file.readline() == b"still there\n"

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.mark.parametrize("unix", [False, True])
def test_children_that_serve_keep_their_clients_when_their_main_process_is_killed(
    settings: Settings, unix: bool
) -> None:
    own = preforked(settings)
    if unix:
        own = preforked(settings, "says_ready", unix=True, ready_by="notify")
    with Daemon(own) as daemon, ExitStack() as stack:
        daemon.start()
        lines = [Line(own) for _ in range(6)]
        for line in lines:
            stack.callback(line.close)
        wait_until(lambda: counted(daemon) == 6, what="their count")
        [main] = daemon.active_pids()
        os.kill(main, signal.SIGKILL)
        wait_until(lambda: events(daemon, "leftover-serves"), what="the verdict")
        daemon.wait_for(lambda status: status["state"] == "serving", what="a replacement")
        served = {line.pid for line in lines}
        new = Line(own)
        stack.callback(new.close)

        assert [line.echoes() for line in lines] == [True] * 6
        assert unix or new.pid not in served, "the slot of what is left is steered away from"
        assert events(daemon, "leftover-ended") == []

        if unix:  # no process can ask them to stop accepting
            daemon.ctl("drain", "1", "--within", "0s")
        for line in lines:
            line.close()
        wait_until(lambda: not any(map(alive, served)), what="the children's end")
        new_serves = unix or new.echoes()
        wait_until(lambda: events(daemon, "worker-exited"), what="the event")
        [ended] = events(daemon, "worker-exited")

    assert new_serves
    assert ended["expected"] is True
    assert ended["connections"] == 0 or unix


CANDIDATE = """
import os, socket, sys, time
if os.fork() == 0:
    listening = socket.socket(fileno=3)
    listening.setblocking(True)
    print("child", os.getpid(), flush=True)
    while sys.argv[1] == "serves":
        listening.accept()[0].sendall(b"hello")
    time.sleep(600)
time.sleep(0.2)
print("cannot open the database", flush=True)
os._exit(7)
"""


@pytest.mark.parametrize("child", ["serves", "sleeps"])
def test_a_candidate_whose_main_process_exits_has_failed_whatever_it_leaves(
    settings: Settings, child: str
) -> None:
    own = replace(settings, listeners=("raw",), workers=1, ready_timeout="2h")
    with Daemon(own) as daemon:
        daemon.start()
        [before] = daemon.active_pids()
        code = own.releases.root / "candidate.py"
        code.write_text(CANDIDATE)
        daemon.settings = replace(own, command=(sys.executable, str(code), child), stable=LONG)
        daemon.settings.write()
        answer = daemon.ctl("reload", "--timeout", LONG)
        wait_until(lambda: list(map(alive, workers_of(own.name))) == [True], what="its end")

        assert answer.status == 1
        assert "exited with status 7" in answer.err
        assert "cannot open the database" in answer.err
        assert list(workers_of(own.name)) == [before]


GRACEFUL = """
import asyncio, os, signal, socket, sys

async def close(reader, writer):
    writer.close()

async def main():
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with await asyncio.start_server(close, sock=socket.socket(fileno=3)):
        await ended.wait()
    open(sys.argv[1], "w").close()

asyncio.run(main())
"""
WRAPPERS = {
    "plain": "{python} server.py $1$WSSUPERVISOR_GENERATION\ntrue\n",
    "trap": "trap 'echo cleaned' TERM\n{python} server.py $1$WSSUPERVISOR_GENERATION\ntrue\n",
    "job": (
        "(trap 'touch $1$WSSUPERVISOR_GENERATION; exit' TERM; touch $1$WSSUPERVISOR_GENERATION.job;"
        " while true; do sleep 0.05; done) &\n"
        "exec {python} server.py $1.server\n"
    ),
}


@pytest.mark.parametrize("wrapper", list(WRAPPERS))
def test_all_of_a_tree_is_told_to_end_before_it_is_killed(settings: Settings, wrapper: str) -> None:
    release = settings.releases.root / "releases" / "one"
    (release / "server.py").write_text(GRACEFUL)
    (release / "run.sh").write_text(WRAPPERS[wrapper].format(python=sys.executable))
    mark = settings.releases.root / "ended-"
    own = replace(
        settings,
        listeners=("raw",),
        workers=1,
        kill_after="4s",
        stop_timeout="8s",
        command=("bash", "run.sh", str(mark)),
    )
    with Daemon(own) as daemon:
        daemon.start()
        if wrapper == "job":
            wait_until(Path(f"{mark}1.job").exists, what="the job")
        daemon.reload()
        wait_until(lambda: events(daemon, "generation-retired"), what="generation 1's end")
        drained = Path(f"{mark}1").exists()
        if wrapper == "job":
            wait_until(Path(f"{mark}2.job").exists, what="the job")

        assert daemon.stop() == 0
        assert drained, "at the end of a drain"
        assert Path(f"{mark}2").exists(), "at a stop"
        assert "worker killed" not in daemon.log()


FILES = """
import os, socket, time
listening = socket.socket(fileno=3)
listening.setblocking(True)
kept = []
while True:
    kept.append((listening.accept()[0].close(), [open("/dev/null") for _ in range(43)]))
"""


def test_files_that_a_worker_opens_are_no_connections_and_no_losses(settings: Settings) -> None:
    code = settings.releases.root / "files.py"
    code.write_text(FILES)
    own = replace(settings, listeners=("raw",), workers=1, command=(sys.executable, str(code)))
    with Daemon(own) as daemon:
        daemon.start()
        [pid] = daemon.active_pids()
        with socket.create_connection(own.target("raw"), HANG_SECONDS) as client:
            assert client.recv(1) == b""
        wait_until(lambda: len(list(Path(f"/proc/{pid}/fd").iterdir())) > 80, what="files")
        for _ in range(3):
            shown = daemon.ctl("metrics").out
            assert 'connections{state="active"} 0' in shown.replace('instance="x",', "")
        os.kill(pid, signal.SIGKILL)
        daemon.wait_ready(1)
        wait_until(lambda: crashed(daemon), what="the event")

        assert [one["connections"] for one in crashed(daemon)] == [0]
        assert lost_total(daemon) == 0


def lost_total(daemon: Daemon) -> float:
    lines = daemon.ctl("metrics").out.splitlines()
    [found] = [one for one in lines if one.startswith("wssupervisor_connections_lost_total")]
    return float(found.split()[-1])


def test_a_kept_alive_connection_is_described_as_far_as_it_is_known(settings: Settings) -> None:
    own = preforked(settings)
    with Daemon(own) as daemon:
        daemon.start()
        line = Line(own)
        assert line.echoes()
        [row] = why(daemon)["longest_idle"]
        line.close()

    assert row["received_bytes"] == len("still there\n")
    answers = len(f"{line.pid}\nstill there\n")
    assert row["sent_bytes"] + row["unsent_bytes"] == answers, "acknowledged or not yet"
    assert row["answered"] is True
    assert row["looks_like"] is None, "it is not idle for long"
