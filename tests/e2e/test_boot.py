"""At boot: sockets first; who comes before the service is up is served."""

from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.e2e import layers
from tests.e2e.machine import Machine
from tests.e2e.service import Clients, Service

CAME_EARLY = 60
SLOW = "#!/bin/sh\nsleep 3\nexec python3 /srv/chat/releases/slow/app.py well\n"


@pytest.fixture(scope="module")
def installed() -> list[Path]:
    """All of Debian boots, not only what other tests need."""
    return layers.with_package()


def test_the_first_connection_starts_the_service(new: Service) -> None:
    new.machine.systemctl("start", new.socket)
    assert new.systemctl("is-active", check=False).stdout == "inactive\n"
    with new.hold() as held, new.storm() as storm:
        clients = Clients(held.wait_open(), storm, new.record)
        clients.more(100)
        assert new.systemctl("is-active").stdout == "active\n"
        clients.assert_unnoticed()


def test_at_boot_it_starts_by_itself_and_serves_who_came_early(new: Service) -> None:
    new.release("slow", script=SLOW)
    new.machine.systemctl("enable", new.socket, new.service)
    new.machine.reboot()

    wait_until(
        lambda: new.machine.show(new.socket, "ActiveState") == "active",
        what="the socket unit",
    )
    with new.hold() as held, new.storm() as storm:
        clients = Clients(held, storm, new.record)
        clients.wait_begun(CAME_EARLY)
        assert storm.answered == 0
        held.wait_open()
        clients.more(100)
        clients.assert_unnoticed()
    assert new.systemctl("is-active").stdout == "active\n"


def test_at_boot_it_starts_without_any_client(chat: Service) -> None:
    chat.machine.reboot()

    chat.wait_serving()


def test_sockets_are_there_before_the_service(chat: Service) -> None:
    """Whenever both are started in one go, as at boot, the service finds its slots."""
    after = chat.machine.show(chat.service, "After").split()
    (listener,) = chat.status()["listeners"]

    assert chat.socket in after
    assert (listener["source"], listener["mode"], listener["slots"]) == ("systemd", "steered", 22)


def test_without_an_instance_nothing_runs(machine: Machine) -> None:
    units = machine.systemctl("list-units", "--all", "--plain", "--no-legend", "wssupervisor*")
    processes = machine.run("pgrep", "--full", "--list-full", "wssupervisor", check=False)

    assert units.stdout == ""
    assert processes.stdout == ""
