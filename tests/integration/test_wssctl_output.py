"""The exit status of wssctl is the verb's, whatever becomes of what it prints."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import Daemon, environment
from tests.harness.settings import Settings


@pytest.fixture
def daemon(settings: Settings) -> Iterator[Daemon]:
    with Daemon(settings) as found:
        yield found.start()


def shell(daemon: Daemon, line: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which "$@" is wssctl with these words."""
    command = ["bash", "-o", "pipefail", "-c", line, "bash", *daemon.ctl_command(*words)]
    return subprocess.run(
        command,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


OUTPUTS = [
    '"$@" > /dev/full',
    '"$@" > /dev/full 2>&1',
    '"$@" >&-',
    '"$@" >&- 2>&-',
    '"$@" <&- >&- 2>&-',
    '"$@" | true',
    '"$@" 2>&1 | true',
]


def test_a_reload_exits_by_its_verdict(daemon: Daemon, settings: Settings) -> None:
    settings.releases.make("bad", "fails_at_once")
    for number, line in enumerate(OUTPUTS, start=2):
        settings.releases.switch("one")
        done = shell(daemon, line, "reload")
        active = daemon.status()["generations"][0]["number"]
        settings.releases.switch("bad")
        failed = shell(daemon, line, "reload", "--json")

        assert (line, done.returncode, active) == (line, 0, 2 * number - 2)
        assert (line, failed.returncode) == (line, 1)
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr + failed.stderr


def test_a_full_disk_behind_it_is_said(daemon: Daemon) -> None:
    said = "wssctl: cannot write to standard output: No space left on device\n"
    done = shell(daemon, '"$@" > /dev/full', "scale", "1")
    read = shell(daemon, '"$@" > /dev/full', "status")

    assert (done.returncode, done.stderr) == (0, said)
    assert (read.returncode, read.stderr) == (1, said)


def test_a_reader_that_has_seen_enough_is_no_failure(daemon: Daemon) -> None:
    for verb in ("events", "status", "history", "metrics", "--help"):
        # Slow to start: wssctl writes after the reader has gone.
        early = shell(daemon, '"$@" | true', verb)
        first = shell(daemon, '"$@" | head -1', verb)

        assert (verb, early.returncode, early.stderr) == (verb, 0, "")
        assert (verb, first.returncode, first.stderr) == (verb, 0, "")
        assert (verb, len(first.stdout.splitlines())) == (verb, 1)


def test_the_daemon_is_not_blamed_for_a_reader_of_events_that_left(daemon: Daemon) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            daemon.ctl_command("events", "--follow"),
            env=environment(),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (0, "")
