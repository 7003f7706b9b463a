"""What HAProxy's agent-check is answered: one line per connection, through its life."""

import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.agent import ask, word
from tests.harness.daemon import Daemon
from tests.harness.library import polite
from tests.harness.pages import get
from tests.harness.settings import HOST, Settings, free_port
from wssupervisor.runtime.monitoring.agent_check import CLIENT_SECONDS, CLIENTS_MAX

__all__ = ["polite"]


@pytest.fixture
def port() -> int:
    return free_port()


def with_agent(settings: Settings, port: int, more: str = "") -> Settings:
    return replace(settings, more=f'[http]\nagent = "{HOST}:{port}"\n{more}')


def wait_word(port: int, said: str | None) -> None:
    wait_until(lambda: word(port) == said, what=f"{said!r} of the agent")


@pytest.mark.parametrize("says", [b"", b"a1\n", b"x" * 4000])
def test_it_says_one_line_whatever_it_is_told(settings: Settings, port: int, says: bytes) -> None:
    with Daemon(with_agent(settings, port)) as daemon:
        daemon.start()

        assert ask(port, says) == "up ready\n"


def test_it_follows_leave_and_join_and_so_does_the_health_page(
    settings: Settings, port: int
) -> None:
    pages = free_port()
    with Daemon(with_agent(settings, port, f'address = "{HOST}:{pages}"')) as daemon:
        daemon.start()
        before = get(pages, "/readyz").status
        daemon.ctl("leave", "--no-wait")
        out = get(pages, "/readyz")

        assert ask(port) == "drain\n"
        assert before == 200
        assert out.status == 503
        since = daemon.status()["out_of_rotation"]["since"]
        assert out.body.startswith("out of its load balancer (requested by ")
        assert f"; out of rotation since {since[:19]}" in out.body
        assert get(pages, "/livez").status == 200

        daemon.ctl("join")

        assert ask(port) == "up ready\n"
        assert get(pages, "/readyz").status == 200


def test_it_says_why_nobody_serves(settings: Settings, port: int) -> None:
    settings.releases.install("never", "never_ready")
    with Daemon(with_agent(settings, port)) as daemon:
        daemon.launch()
        wait_word(port, "down #starting: no generation serves yet")


def test_one_that_stops_says_drain_until_it_has_gone(polite: Settings, port: int) -> None:
    slow = replace(polite, stop='close_over = "20s"', stop_timeout="30s")
    with Daemon(with_agent(slow, port)) as daemon:
        daemon.start()
        with daemon.held(slow.releases.root, 10) as held:
            held.wait_open()
            daemon.signal(signal.SIGTERM)
            wait_word(port, "drain")
            daemon.signal(signal.SIGTERM)
            daemon.wait_end()
            held.finish()

        assert word(port) is None


def test_it_answers_after_an_upgrade_and_a_death_what_it_did_before(
    settings: Settings, port: int
) -> None:
    with Daemon(with_agent(settings, port)) as daemon:
        daemon.start()
        daemon.ctl("leave", "--no-wait")
        assert daemon.ctl("upgrade").status == 0
        wait_word(port, "drain")
        daemon.die()
        daemon.start()
        wait_word(port, "drain")


def test_who_is_silent_or_too_many_costs_nobody_an_answer(settings: Settings, port: int) -> None:
    with Daemon(with_agent(settings, port)) as daemon, ExitStack() as stack:
        daemon.start()
        silent = [
            stack.enter_context(socket.create_connection((HOST, port), HANG_SECONDS))
            for _ in range(2 * CLIENTS_MAX)
        ]

        assert ask(port) == "up ready\n"
        begun = time.monotonic()
        for one in silent:
            assert one.recv(100) == b"up ready\n"
            assert one.recv(100) == b""
        assert time.monotonic() - begun < CLIENT_SECONDS


def test_an_address_that_is_taken_is_told_at_the_start(settings: Settings, port: int) -> None:
    with socket.create_server((HOST, port)), Daemon(with_agent(settings, port)) as daemon:
        assert daemon.run_to_its_end() == 1
        assert f"{HOST}:{port}" in daemon.log()
        assert "[http] agent" in daemon.log()


def test_workers_are_not_ended_because_the_address_is_taken_later(
    settings: Settings, port: int
) -> None:
    with Daemon(with_agent(settings, port)) as daemon:
        daemon.start()
        daemon.die()
        with socket.create_server((HOST, port)):
            daemon.start()
            wait_until(
                lambda: "cannot listen yet; retrying" in daemon.log(),
                what="log",
            )
        wait_word(port, "up ready")
