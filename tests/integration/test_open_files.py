"""A limit of open files that is too low is named, with the number that is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import LIMITED, Daemon, environment
from tests.harness.settings import Settings


def limited(settings: Settings, allowed: int, private: Path) -> subprocess.CompletedProcess[str]:
    """A start that must fail."""
    program = [sys.executable, "-m", "wssupervisor", "--config", str(settings.write())]
    return subprocess.run(
        ["sh", "-c", LIMITED, str(allowed), *program, "--control", str(private / "c.sock")],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("allowed", [32, 64, 105])
def test_a_start_that_cannot_work_says_how_many_it_needs(
    settings: Settings, allowed: int, short_directory: Path
) -> None:
    done = limited(settings, allowed, short_directory)

    assert done.returncode == 1
    assert done.stderr == (
        f"wssupervisor: at most {allowed} open files are allowed, but the supervisor needs 106 to"
        " start and 294 with all drains. Set LimitNOFILE= in the unit, or ulimit -n\n"
    )


def test_a_limit_that_a_start_can_live_with_starts_and_warns(settings: Settings) -> None:
    with Daemon(settings, open_files=106) as daemon:
        daemon.start()
        daemon.reload()

        assert "too few open files are allowed" in daemon.log()
        assert "allowed=106" in daemon.log()
        assert "needed=294" in daemon.log()
        assert daemon.stop() == 0
