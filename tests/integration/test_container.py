"""Without systemd: as the first process of a container, or just in the foreground."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.harness.census import children_of
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings

ANSWERS_AFTER = 200


@pytest.mark.parametrize("contained", [pytest.param(True, marks=needs_root), False])
def test_what_workers_leave_behind_is_reaped(settings: Settings, *, contained: bool) -> None:
    settings.releases.install("orphans", "orphans")
    with Daemon(settings, contained=contained) as daemon:
        daemon.start()
        pid = daemon.pid()
        wait_until(
            lambda: len(children_of(pid)) == settings.workers,
            what="only workers below the daemon, and no zombie",
        )

        assert daemon.log().count("left ") == settings.workers
        assert daemon.status()["pid"] == (1 if contained else pid)


@needs_root
def test_it_serves_reloads_and_stops_as_the_first_process_of_a_container(
    settings: Settings,
) -> None:
    with Daemon(settings, contained=True) as daemon, load(daemon.start()) as clients:
        cutover = daemon.reload()
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed([cutover])
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(lambda _: daemon.active() == 3, what="a reload by SIGHUP")

        assert daemon.stop() == 0
        assert daemon.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
def test_it_stops_at_each_of_the_signals_that_mean_so(
    settings: Settings, number: signal.Signals
) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        daemon.signal(number)

        assert daemon.wait_end() == 0
        assert daemon.leftovers() == []


def test_a_second_signal_means_at_once(settings: Settings) -> None:
    settings.releases.install("stubborn", "stubborn")
    with Daemon(replace(settings, kill_after="10min", stop_timeout="10min")) as daemon:
        daemon.start()
        daemon.signal(signal.SIGINT)
        daemon.wait_for(lambda status: status["state"] == "stopping", what="a stop")
        daemon.signal(signal.SIGINT)

        assert daemon.wait_end() == 0
        assert daemon.leftovers() == []


def test_a_signal_is_passed_on_to_those_that_serve(settings: Settings) -> None:
    """On SIGUSR1 these workers let their listeners go: they are found silent, and replaced."""
    settings = replace(settings, extra_app='forward_signals = ["SIGUSR1"]')
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        pids = daemon.active_pids()
        daemon.signal(signal.SIGUSR1)
        daemon.wait_for(
            lambda status: (
                status["state"] == "serving"
                and set(pids).isdisjoint(
                    one["pid"]
                    for one in status["generations"][0]["workers"]
                    if one["state"] == "ready"
                )
            ),
            what="other workers",
        )
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()


def test_logs_go_to_stdout_one_json_object_a_line(settings: Settings) -> None:
    with Daemon(settings, options=("--log-format", "json")) as daemon:
        daemon.start()
        daemon.stop()
        events = [json.loads(line)["event"] for line in daemon.log().splitlines()]

        assert "started" in events
        assert events[-1] == "stopped"


def test_a_reader_of_the_log_that_goes_away_ends_nothing(settings: Settings) -> None:
    reader, writer = os.pipe()
    with Daemon(settings, log_to=writer) as daemon:
        daemon.start()
        os.close(writer)
        os.close(reader)
        daemon.reload()

        assert daemon.state() == "serving"
        assert daemon.stop() == 0


def test_the_log_is_not_on_stderr(settings: Settings, tmp_path: Path) -> None:
    with Daemon(settings, errors_to=tmp_path / "errors") as daemon:
        daemon.start()

        assert daemon.stop() == 0
        assert (tmp_path / "errors").read_text() == ""
        assert "started" in daemon.log()
