"""Whatever becomes of standard output and error, the instance serves and can be driven."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon, environment
from tests.harness.settings import Settings

READ_BYTES = 1 << 20


@contextmanager
def stalled() -> Iterator[tuple[int, int]]:
    """A full pipe that no process reads: its reading and its writing end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"." * 4096)
    os.set_blocking(writing, True)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def test_nobody_reads_the_log_and_all_else_goes_on(settings: Settings) -> None:
    with stalled() as (reading, writing), Daemon(settings, log_to=writing) as daemon:
        daemon.start()
        before = [one.pid for one in daemon.workers()]
        daemon.end_worker(before[0])
        daemon.wait_ready(2)
        daemon.reload()
        upgraded = daemon.ctl("upgrade")
        status = daemon.stop()
        os.set_blocking(reading, False)
        text = os.read(reading, READ_BYTES)

        assert upgraded.status == 0
        assert status == 0
        assert set(text) == set(b".")
        assert daemon.leftovers() == []


def test_what_could_not_be_written_over_an_upgrade_is_counted(settings: Settings) -> None:
    with stalled() as (reading, writing), Daemon(settings, log_to=writing) as daemon:
        daemon.start()
        assert daemon.ctl("upgrade").status == 0
        said = b""
        os.set_blocking(reading, False)

        def told() -> bool:
            nonlocal said
            with suppress(BlockingIOError):
                said += os.read(reading, READ_BYTES)
            return b"log lines dropped" in said and b"re executed" in said

        wait_until(told, what="the number of lines that are missing")
        lines = said.lstrip(b".").decode().splitlines()
        assert "log lines dropped" in lines[0]
        assert "lines=" in lines[0]
        assert daemon.stop() == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_it_starts_with_closed_streams(settings: Settings, closed: str) -> None:
    config = settings.write()
    with Daemon(settings) as daemon:
        own = ["--config", str(config), "--control", str(daemon.control), "--name", settings.name]
        command = [sys.executable, "-m", "wssupervisor", *own]
        shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
        with subprocess.Popen(
            shell, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_until(lambda: daemon.state() == "serving", what="serving")
            daemon.reload()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=HANG_SECONDS)

        assert process.returncode == 0
        assert "Traceback" not in errors


def test_a_start_that_fails_ends_although_nobody_reads_why(settings: Settings) -> None:
    settings.releases.install("bad", "fails_at_once")
    config = settings.write()
    with stalled() as (_, writing):
        command = [sys.executable, "-m", "wssupervisor", "--config", str(config)]
        process = subprocess.Popen(
            [*command, "--control", str(settings.releases.root / "c")],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
        )
        status = process.wait(HANG_SECONDS)

    assert status == 1
