"""Reloads that are cancelled, refused because one is under way, or asked for by SIGHUP."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.census import workers_of
from tests.harness.daemon import Daemon, unchanged
from tests.harness.load import load
from tests.harness.settings import Settings

ANSWERS_AFTER = 200
PAST_THE_LIMIT = 1200  # at 300 a second: longer than the ready timeout of that test


@dataclass(frozen=True, slots=True)
class Gate:
    """Until it is opened, the workers of the next release are not ready."""

    path: Path

    def open(self) -> None:
        self.path.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def gated(settings: Settings, gate: Gate) -> Settings:
    """The first release serves; the current one waits at the gate."""
    return replace(settings, environment={"GATE": str(gate.path)})


@contextmanager
def waiting_reload(daemon: Daemon) -> Iterator[subprocess.Popen[str]]:
    """A `wssctl reload` whose candidate stands at the gate."""
    daemon.settings.releases.install("gated", "gated")
    with daemon.launch_ctl("reload") as ctl:
        try:
            daemon.wait_for(
                lambda status: (
                    status["state"] == "reloading"
                    and len(workers_of(daemon.settings.name)) == 2 * daemon.settings.workers
                ),
                what="a candidate",
            )
            yield ctl
        finally:
            if ctl.poll() is None:
                ctl.kill()


def wait_candidate_gone(daemon: Daemon) -> None:
    daemon.wait_for(
        lambda status: (
            len(status["generations"]) == 1
            and len(workers_of(daemon.settings.name)) == daemon.settings.workers
        ),
        what="end of the candidate",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_reload_whose_requester_went_away_never_takes_effect(
    gated: Settings, gate: Gate, number: signal.Signals
) -> None:
    with Daemon(gated) as daemon, load(daemon.start()) as clients:
        pids = daemon.active_pids()
        with waiting_reload(daemon) as ctl:
            ctl.send_signal(number)
            _, err = ctl.communicate(timeout=HANG_SECONDS)
        gate.open()
        wait_candidate_gone(daemon)
        clients.more(ANSWERS_AFTER)

        assert ctl.returncode != 0
        assert number is not signal.SIGINT or "The active generation has not changed" in err
        assert daemon.active() == 1
        assert unchanged(pids, daemon.active_pids())
        assert daemon.status()["last_reload"]["ok"] is False

        # The number is spent: the next reload is another generation, and it succeeds.
        cutover = daemon.reload()
        clients.more(ANSWERS_AFTER)
        notes = clients.assert_unnoticed([cutover])
        assert cutover.generation > 2
        assert {note.generation for note in notes} == {1, cutover.generation}


def test_a_second_reload_is_told_to_try_again(gated: Settings, gate: Gate) -> None:
    with Daemon(gated) as daemon, load(daemon.start()) as clients:
        with waiting_reload(daemon) as ctl:
            refused = daemon.ctl("reload")
            gate.open()
            ctl.communicate(timeout=HANG_SECONDS)
        clients.more(ANSWERS_AFTER)

        assert refused.status == 75
        assert "reload" in refused.err
        assert ctl.returncode == 0
        assert daemon.active() == 2
        clients.assert_unnoticed()


def test_a_stop_under_way_refuses_a_reload_and_ends_the_candidate(
    gated: Settings,
) -> None:
    with Daemon(gated) as daemon:
        daemon.start()
        with waiting_reload(daemon) as ctl:
            assert daemon.stop() == 0
            _, err = ctl.communicate(timeout=HANG_SECONDS)

        assert ctl.returncode in {1, 75}
        assert err.strip()
        assert daemon.leftovers() == []


def test_a_reload_that_waits_too_long_is_cancelled_by_its_own_timeout(
    gated: Settings, gate: Gate
) -> None:
    with Daemon(gated) as daemon, load(daemon.start()) as clients:
        gated.releases.install("gated", "gated")
        answer = daemon.ctl("reload", "--timeout", "1s")
        gate.open()
        wait_candidate_gone(daemon)
        clients.more(ANSWERS_AFTER)

        assert answer.status == 1
        assert "1s" in answer.err
        assert daemon.active() == 1
        clients.assert_unnoticed()


def test_sighup_reloads_without_waiting(settings: Settings) -> None:
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(
            lambda status: status["last_reload"] is not None and status["last_reload"]["ok"],
            what="a reload by SIGHUP",
        )
        clients.more(ANSWERS_AFTER)

        assert daemon.active() == 2
        clients.assert_unnoticed()


def test_a_failed_reload_by_sighup_leaves_the_daemon_serving(settings: Settings) -> None:
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        settings.releases.install("bad", "fails_at_once")
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(
            lambda status: status["last_reload"] is not None,
            what="the verdict on a reload by SIGHUP",
        )
        clients.more(ANSWERS_AFTER)

        assert daemon.status()["last_reload"]["ok"] is False
        assert daemon.active() == 1
        clients.assert_unnoticed()


def test_no_wait_returns_at_once_and_the_reload_goes_on(gated: Settings, gate: Gate) -> None:
    with Daemon(gated) as daemon, load(daemon.start()) as clients:
        gated.releases.install("gated", "gated")
        answer = daemon.ctl("reload", "--no-wait")
        assert daemon.active() == 1
        gate.open()
        daemon.wait_for(
            lambda status: status["last_reload"] is not None and status["last_reload"]["ok"],
            what="cutover",
        )
        clients.more(ANSWERS_AFTER)

        assert answer.status == 0
        assert daemon.active() == 2
        clients.assert_unnoticed()


def test_limits_that_passed_while_the_daemon_was_stopped_are_not_held_against_anybody(
    gated: Settings, gate: Gate
) -> None:
    with Daemon(replace(gated, ready_timeout="3s")) as daemon, load(daemon.start()) as clients:
        with waiting_reload(daemon) as ctl:
            daemon.signal(signal.SIGSTOP)
            try:
                clients.more(ANSWERS_AFTER)
                gate.open()
                clients.more(PAST_THE_LIMIT)
            finally:
                daemon.signal(signal.SIGCONT)
            _, err = ctl.communicate(timeout=HANG_SECONDS)
            status = ctl.returncode
        clients.finish()

        assert (status, err) == (0, "")
        assert daemon.active() == 2
