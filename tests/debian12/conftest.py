"""A Debian 12, as the tests of its units need it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients_table import pytest_terminal_summary, record
from tests.e2e.layers import HANG_SECONDS
from tests.e2e.machine import Machine

__all__ = ["pytest_terminal_summary", "record"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bookworm(tmp_path: Path) -> Iterator[Machine]:
    """With the project's source in /root/wssupervisor, and wheels in /root/wheels."""
    tree = subprocess.run(
        [ROOT / "packaging/tree", "path", "bookworm"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=HANG_SECONDS,
    ).stdout.strip()
    place = ROOT / ".cache/debian12"
    assert place.is_dir(), "run ./dev debian12"
    with Machine([Path(tree)], tmp_path) as machine:
        for name in ("source", "wheels"):
            subprocess.run(["cp", "-r", place / name, machine.root / "root"], check=True)
        yield machine
