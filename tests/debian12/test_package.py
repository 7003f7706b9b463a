"""The package, built on Debian 13, on Debian 12: its Python and systemd, and no websockets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.layers import layered, package, tree
from tests.e2e.machine import Machine
from tests.e2e.service import Counts, Service

WHEELS = Path(__file__).resolve().parents[2] / ".cache/debian12/wheels"
PYTHON = "/opt/chat/bin/python"
WORKER = f"#!/bin/sh\nexec {PYTHON} ./app.py well\n"
"""The application brings a websockets of its own; the daemon has none."""
PROBES = '[ready]\nby = "websocket"\n'


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Machine]:
    script = (
        f"python3 -m venv /opt/chat && {PYTHON} -m pip --quiet install --no-index"
        " --find-links /wheels websockets"
    )
    with Machine(layered(tree("bookworm"), package(), WHEELS, script), tmp_path) as found:
        yield found


def test_it_serves_and_refuses_only_what_needs_a_newer_websockets(
    installed: Machine, record: Callable[[Counts], None]
) -> None:
    chat = Service(installed, record)
    chat.release("one", script=WORKER)
    chat.init()
    chat.start()
    with chat.load() as clients:
        chat.reload()
        clients.more(100)
        installed.write(chat.config, installed.read(chat.config).replace("[ready]\n", PROBES, 1))
        refused = chat.systemctl("reload", check=False)
        clients.more(100)
        clients.assert_unnoticed(chat.cutovers)
    checked = installed.run("wssctl", "check", chat.config, check=False)

    assert installed.run("systemctl", "--version").stdout.split()[1] == "252"
    assert installed.run("python3", "-c", "import websockets", check=False).returncode == 1
    assert (refused.returncode, chat.active()) == (1, 2)
    assert checked.returncode == 78
    assert "the WebSocket probe needs the Python package websockets 15 or newer" in checked.stderr
