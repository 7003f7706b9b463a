"""Long polling with two workers: lost at random, nothing lost by client; and over a cutover."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.e2e.machine import Machine
from tests.e2e.service import QUICK, Counts, Service

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/servers"
CLIENTS = ROOT / "tests/harness/polling.py"
BIN = "/opt/servers/bin"
SERVED = {
    "socketio": f'["{BIN}/uvicorn", "socketio_app:app", "--fd", "3", "--log-level", "error"]',
    "polling": f'["{BIN}/python", "polling.py"]',
}
INSTANCES = {
    "socketio": "socketio",
    "socketio-polling": "socketio",
    "sockjs": "polling",
    "signalr": "polling",
    "signalr-kept": "polling",
}
"""By kind of client (tests/harness/polling.py): the instance that it talks to."""
COUNT = 40
NOTICES = 15
"""Seconds after which a client whose session has ended without an answer gives up."""
PATIENCE = HANG_SECONDS / 2
"""Of a client whose answers must come: it counts its failure before the test gives up."""
GO = "/root/go"


@pytest.fixture
def services(server_machine: Machine, record: Callable[[Counts], None]) -> dict[str, Service]:
    """Both serve, with a random balance."""
    server_machine.write("/root/polling.py", CLIENTS.read_text())
    found = {}
    for port, (name, command) in enumerate(SERVED.items(), 8765):
        one = Service(server_machine, record, name=name, port=port)
        place = f"/srv/{name}/releases/one"
        for file in (EXAMPLES / "app.py", EXAMPLES / "socketio_app.py"):
            server_machine.write(f"{place}/{file.name}", file.read_text())
        own = ROOT / "tests/harness/workers/polling.py"
        server_machine.write(f"{place}/polling.py", own.read_text())
        one.switch("one")
        one.init(extra="")
        balance(one, command, "random")
        one.start()
        found[name] = one
    return found


def balance(service: Service, command: str, how: str) -> None:
    lines = [
        f'[app]\ncommand = {command}\ndirectory = "/srv/{service.name}/current"\nworkers = 2',
        f'[[listen]]\nname = "ws"\nbalance = "{how}"',
        QUICK,
    ]
    service.machine.write(service.config, "\n".join(lines))


@dataclass(slots=True)
class Clients:
    """Those of one kind, from many addresses."""

    process: subprocess.Popen[str]

    def wait_middle(self) -> None:
        assert self.process.stdout is not None
        assert "all in the middle" in self.process.stdout.readline()

    def finish(self) -> dict[str, Any]:
        """What became of them."""
        said, _ = self.process.communicate(timeout=HANG_SECONDS)
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found


def clients(services: dict[str, Service], kinds: list[str], *numbers: object) -> dict[str, Clients]:
    """Begin clients of all these kinds; `numbers`: how many, and so on."""
    found = {}
    for kind in kinds:
        one = services[INSTANCES[kind]]
        command = (f"{BIN}/python", "/root/polling.py", kind, *map(str, (one.port, *numbers)))
        found[kind] = Clients(one.machine.launch(*command))
    return found


def finished(running: dict[str, Clients]) -> dict[str, dict[str, Any]]:
    found = {kind: one.finish() for kind, one in running.items()}
    print("\n".join(f"{kind}: {counts}" for kind, counts in found.items()))
    return found


@pytest.mark.slow("polls wait for their answers, in three rounds of all kinds of clients")
def test_clients_that_poll_keep_their_worker_and_come_again_after_a_cutover(
    services: dict[str, Service], server_machine: Machine, record: Callable[[Counts], None]
) -> None:
    """A cutover ends sessions whose every request is a connection; what is held stays."""
    stays, ends = ["socketio", "signalr-kept"], ["socketio-polling", "sockjs", "signalr"]
    at_random = finished(clients(services, ["socketio", "sockjs", "signalr"], 12, 1, 3))
    for name, service in services.items():
        balance(service, SERVED[name], "client")
        service.reload()
    by_client = finished(clients(services, [*stays, *ends], COUNT, 5, PATIENCE))

    assert all(found["ended_early"] > 0 for found in at_random.values())
    for found in by_client.values():
        record(Counts(0, 0, found["sessions"], found["ended_early"], 0))

        assert found["done"] == found["sessions"] == COUNT

    running = clients(services, stays, COUNT, 3, PATIENCE, GO)
    running |= clients(services, ends, COUNT, 3, NOTICES, GO)
    for one in running.values():
        one.wait_middle()
    for service in services.values():
        service.reload()
    server_machine.write(GO, "")
    over_a_cutover = finished(running)

    assert all(over_a_cutover[kind]["done"] == COUNT for kind in stays)
    for kind in ends:
        assert over_a_cutover[kind]["done_later"] == over_a_cutover[kind]["ended_early"] == COUNT
