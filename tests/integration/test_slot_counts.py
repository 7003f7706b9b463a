"""A service that gets fewer slots than it had reports it, and serves all clients."""

import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from examples.load.waiting import wait_until
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings
from tests.harness.sockets import HeldSockets


@contextmanager
def started(settings: Settings, slots: int, state: Path, **variables: str) -> Iterator[Daemon]:
    addresses = {"ws": settings.target("ws"), "raw": settings.target("raw")}
    passed = replace(settings, with_addresses=False)
    given = {"STATE_DIRECTORY": str(state), **variables}
    with (
        HeldSockets(addresses, slots) as sockets,
        Daemon(passed, sockets=sockets, variables=given) as daemon,
    ):
        yield daemon.start()


def before(daemon: Daemon) -> list[int | None]:
    return [one["slots_before"] for one in daemon.status()["listeners"]]


def test_fewer_slots_are_told_once_and_serve_all(settings: Settings, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with started(settings, 6, state) as daemon:
        assert before(daemon) == [None, None]
        assert daemon.stop() == 0
    with started(settings, 4, state) as daemon:
        assert before(daemon) == [6, 6]
        assert "; 6 before" in daemon.ctl("status").out
        assert "fewer slots than before" in daemon.log()
        with load(daemon) as around:
            around.more(200)
            around.assert_unnoticed()
        assert daemon.stop() == 0
    with started(settings, 4, state) as daemon:
        assert before(daemon) == [None, None]


def test_it_says_so_again_after_a_crash(settings: Settings, tmp_path: Path) -> None:
    with started(settings, 6, tmp_path) as daemon:
        assert daemon.stop() == 0
    with started(settings, 4, tmp_path) as daemon:
        daemon.close()
    with started(settings, 4, tmp_path) as daemon:
        assert before(daemon) == [6, 6]


def test_a_memory_that_cannot_be_read_or_written_keeps_nobody_from_serving(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "supervisor").mkdir()
    (tmp_path / "supervisor/slots.json").write_text('{"ws": {"slots": "many"}}')
    with started(settings, 4, tmp_path) as daemon:
        assert before(daemon) == [None, None]
        assert daemon.stop() == 0
    with started(settings, 4, tmp_path / "missing") as daemon:
        assert daemon.state() == "serving"


def test_systemd_is_told_generations_drain_and_a_failed_reload(
    settings: Settings, tmp_path: Path
) -> None:
    address = f"{tmp_path}/notify"
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(address)
        notify.setblocking(False)

        def told(pattern: str) -> bool:
            while True:
                try:
                    said.append(notify.recv(4096).decode())
                except BlockingIOError:
                    return any(re.search(pattern, one) for one in said)

        with Daemon(settings, variables={"NOTIFY_SOCKET": address}) as daemon:
            daemon.start()
            wait_until(
                # How many connections is known from the next census on: probes were some, too.
                lambda: told("STATUS=serving; generation 1 active, 2 workers, "),
                what="STATUS= of the first generation",
            )
            with daemon.held(tmp_path, 5) as held:
                held.wait_open()
                daemon.reload()
                wait_until(
                    # A status request has them counted; at first a probe's may still be among them.
                    lambda: daemon.status() and told(r"1 draining, 2 workers, \d+ -> 5 c"),
                    what="STATUS= of the drain",
                )
                settings.releases.install("bad", "fails_at_once")
                assert daemon.ctl("reload").status == 1
                wait_until(
                    lambda: told("last reload FAILED:"),
                    what="STATUS= of the failed reload",
                )
    assert not os.path.lexists(daemon.control)
