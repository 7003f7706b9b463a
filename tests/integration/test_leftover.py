"""A worker is more than its main process: helpers, children that serve, wrappers, background jobs.

Some of the servers are real (uvicorn with a process pool), others do what real ones do.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from examples.load.waiting import wait_until
from tests.harness.census import alive, children_of
from tests.harness.daemon import Daemon
from tests.harness.releases import WORKERS
from tests.harness.settings import Settings

SOON = 20.0
FREED_WITHIN = 5.0
"""One second for the verdict; the rest is for a machine that does other things, too."""
NEW_WITHIN = 1.0
"""For a handshake: what hangs on a helper waits for the verdict, or for ever."""
LONG = "15s"
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

    def open(self, within: float = SOON) -> ClientConnection:
        client = connect(self._uri, open_timeout=within, ping_interval=None, close_timeout=0.2)
        return self._stack.enter_context(client)

    def add(self) -> tuple[ClientConnection, str, int, list[int]]:
        client = self.open()
        self.all.append((client, *asked(client)))
        return self.all[-1]

    def add_until(self, enough: Callable[[], bool]) -> None:
        wait_until(lambda: bool(self.add()) and enough(), within=SOON, what="enough clients")


def asked(client: ClientConnection) -> tuple[str, int, list[int]]:
    client.send("who")
    index, pid, *helpers = str(client.recv(timeout=SOON)).split()
    return index, int(pid), sorted({int(one) for one in helpers})


def closed(client: ClientConnection, within: float) -> bool:
    try:
        client.recv(timeout=within)
    except ConnectionClosed:
        return True
    except TimeoutError:
        return False
    return closed(client, within)


def events(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    import json

    lines = daemon.ctl("events", "--json").out.splitlines()
    return [one for one in map(json.loads, lines) if one["kind"] == kind]


def counted(daemon: Daemon) -> int:
    return sum(int(one["connections"]) for one in daemon.status()["generations"])


def crashed(daemon: Daemon) -> list[dict[str, Any]]:
    return [one for one in events(daemon, "worker-exited") if not one["expected"]]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_clients_of_a_main_process_that_dies_are_free_at_once_whatever_its_helpers_hold(
    settings: Settings, method: str
) -> None:
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
        wait_until(lambda: counted(daemon) == len(clients.all), within=SOON, what="their count")
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        early = [clients.open() for _ in range(3)]
        wait_until(lambda: events(daemon, "main-process-ended"), within=SOON, what="the event")
        waits = []
        for _ in range(60):
            before = time.monotonic()
            clients.open().close()
            waits.append(time.monotonic() - before)
        lost = [client for client, index, _, _ in clients.all if index == "0"]
        kept = [client for client, index, _, _ in clients.all if index == "1"]
        freed = [closed(client, FREED_WITHIN) for client in lost]
        seconds = time.monotonic() - began
        daemon.wait_ready(2, within=SOON)
        [note] = events(daemon, "main-process-ended")
        assert [len(asked(client)[2]) for client in early]
        print(f"{method}: freed after {seconds:.2f} s, longest wait of a new one {max(waits):.3f}")

        assert all(freed)
        assert [asked(client)[0] for client in kept] == ["1"] * len(kept)
        assert [one for one in waits if one > NEW_WITHIN] == []
        assert note["reason"] == "was killed by SIGKILL"
        if method == "fork":
            assert all(alive(one) for one in helpers), "they handle SIGTERM as the server did"
        for pid in filter(alive, helpers):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: crashed(daemon), within=SOON, what="its end")
        [ended] = crashed(daemon)

        assert ended["connections"] == len(lost)
        assert ended["cause"] == "sigkill"


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
            within=SOON,
            what="five that have left",
        )
        document, text = why(daemon), daemon.ctl("why", "1").out
        helpers = children_of(main)
        assert asked(stays)[1] == main
        stays.close()
        daemon.wait_for(
            lambda status: [one["number"] for one in status["generations"]] == [2],
            within=SOON,
            what="the end of generation 1",
        )
        [retired] = events(daemon, "generation-retired")

    [first, *_] = document["helpers"]
    assert {one["pid"] for one in document["helpers"]} <= set(helpers)
    assert (first["connections"], first["counted"]) == (5, 0)
    assert f"pid {first['pid']} ({first['command']}) holds sockets of 5 clients" in text
    assert retired["lost"] == 0


def why(daemon: Daemon, generation: int = 1) -> dict[str, Any]:
    return daemon.ctl("why", str(generation), "--json").document
