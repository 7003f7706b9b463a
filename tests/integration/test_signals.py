"""Signals of the world around: logrotate's, a shell's, and those of a terminal that is closed."""

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.harness.census import alive, send
from tests.harness.daemon import Daemon, unchanged
from tests.harness.settings import Settings
from tests.harness.terminal import Terminal

LATER = 3.0
"""Seconds after which a SIGHUP is not about a terminal that was lost."""


def wait_logged(daemon: Daemon, text: str) -> None:
    wait_until(lambda: text in daemon.log(), what=f"{text!r} in the log")


def reloads(daemon: Daemon) -> int:
    return sum("reload begun" in line for line in daemon.log().splitlines())


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGWINCH])
def test_a_signal_that_nobody_asked_for_is_not_passed_on(
    settings: Settings, number: signal.Signals
) -> None:
    with Daemon(settings) as daemon:
        pids = daemon.start().active_pids()
        daemon.signal(number)
        daemon.signal(signal.SIGUSR1)
        wait_logged(daemon, "signal ignored")
        daemon.reload()

        assert "signal passed on" not in daemon.log()
        assert not any("SIGUSR1" in line for line in daemon.log().splitlines() if "exited" in line)
        assert not set(pids) & set(daemon.active_pids())


def test_a_reload_changes_which_signals_are_passed_on(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        pids = daemon.start().active_pids()
        daemon.signal(signal.SIGUSR1)
        wait_logged(daemon, "signal ignored")
        assert unchanged(pids, daemon.active_pids())

        replace(settings, extra_app='forward_signals = ["SIGUSR1"]').write()
        daemon.reload()
        daemon.ctl("upgrade")
        daemon.signal(signal.SIGUSR1)
        wait_logged(daemon, "signal passed on")


def test_under_nohup_sighup_stays_ignored_also_over_an_upgrade(settings: Settings) -> None:
    with Daemon(settings, wrapper=("nohup",)) as daemon:
        daemon.start()
        for executions in (1, 2):
            daemon.signal(signal.SIGHUP)
            daemon.signal(signal.SIGUSR1)  # answered in the log, after what came before it
            wait_until(
                lambda wanted=executions: daemon.log().count("signal ignored") == wanted,  # type: ignore[misc]
                what="an answer",
            )
            assert reloads(daemon) == 0
            assert daemon.ctl("upgrade").status == 0

        assert daemon.reload().generation == 2


@contextmanager
def on_terminal(daemon: Daemon) -> Iterator[Terminal]:
    """A shell on a terminal, with the daemon as a job in its background."""
    with Terminal(["bash", "--norc", "-i"]) as terminal:
        command = shlex.join(daemon.command())
        terminal.press(f"cd {daemon.private}; {command} >log 2>&1 </dev/null &\n".encode())
        wait_until(lambda: daemon.state() == "serving", what="state serving")
        pid = int(daemon.status()["pid"])
        try:
            yield terminal
        finally:
            if alive(pid):
                send(pid, signal.SIGKILL)
                wait_until(lambda: not alive(pid), what="the daemon's end")


def test_a_closed_terminal_is_not_a_deploy_and_ends_nothing(settings: Settings) -> None:
    with Daemon(settings) as daemon, on_terminal(daemon) as terminal:
        pid, pids = int(daemon.status()["pid"]), daemon.active_pids()
        send(pid, signal.SIGHUP)
        daemon.wait_for(
            lambda status: (status["last_reload"] or {}).get("ok"),
            what="a reload by kill -HUP while the terminal is there",
        )
        assert not set(pids) & set(daemon.active_pids())

        pids = daemon.active_pids()
        terminal.hang_up()
        wait_logged(daemon, "SIGHUP caused by the loss of the terminal: not reloading")

        assert unchanged(pids, daemon.active_pids())
        assert "terminal lost; serving continues" in daemon.log()
        assert reloads(daemon) == 1
        assert daemon.ctl("stop").status == 0


def test_after_a_terminal_was_lost_kill_hup_reloads(settings: Settings) -> None:
    with Daemon(settings) as daemon, on_terminal(daemon) as terminal:
        pid = int(daemon.status()["pid"])
        terminal.press(b"exit\n")  # a shell that ends sends no SIGHUP to its background
        terminal.end()
        terminal.hang_up()
        wait_logged(daemon, "terminal lost; serving continues")

        def reloaded() -> bool:
            # Until the time is over in which it would be about the terminal.
            send(pid, signal.SIGHUP)
            return daemon.active() > 1

        wait_until(reloaded, what="a reload by kill -HUP", every=LATER)


def test_a_terminal_that_is_closed_under_the_foreground_ends_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    """As the only program of a window, and as tmux runs it."""
    log = tmp_path / "log"
    # The tests may themselves run under nohup.
    wrapper = ("env", "--default-signal=HUP", "sh", "-c", 'exec "$@" >"$0"', str(log))
    with Daemon(settings, wrapper=wrapper) as daemon, Terminal(daemon.command()) as terminal:
        wait_until(lambda: daemon.state() == "serving", what="state serving")
        pids = daemon.active_pids()
        terminal.hang_up()
        wait_until(
            lambda: "SIGHUP caused by the loss" in log.read_text(),
            what="what the daemon makes of it",
        )

        assert unchanged(pids, daemon.active_pids())
        assert daemon.ctl("stop").status == 0
        assert terminal.end() == 0
