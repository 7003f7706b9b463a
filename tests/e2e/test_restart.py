"""`systemctl restart` and `stop`: the sockets stay for as long as their unit does."""

import time

import pytest

from examples.load.waiting import wait_until
from tests.e2e.service import Clients, Service

STOP_SLACK = 15.0
DOWN_CLIENTS = 60


def inodes(service: Service) -> list[str]:
    """Of the listening sockets."""
    lines = service.machine.run("ss", "--tcp", "--listening", "--numeric", "--extended").stdout
    return sorted(
        word for line in lines.splitlines() for word in line.split() if word.startswith("ino:")
    )


def processes(service: Service) -> str:
    return service.machine.run("pgrep", "--full", "app.py|wssupervisor", check=False).stdout


def test_after_a_restart_all_who_came_meanwhile_are_served(chat: Service) -> None:
    before = inodes(chat)
    with chat.load() as clients:
        for _ in range(3):
            chat.systemctl("restart")
            clients.more(50)
        clients.assert_only_held_are_gone()
    assert inodes(chat) == before
    assert len(before) == 22


def test_a_client_starts_a_service_again_that_was_stopped_alone(chat: Service) -> None:
    chat.systemctl("stop")
    assert chat.systemctl("is-active", check=False).stdout == "inactive\n"

    with chat.hold() as held, chat.storm() as storm:
        clients = Clients(held.wait_open(), storm, chat.record)
        clients.more(100)
        clients.assert_unnoticed()
    assert chat.systemctl("is-active").stdout == "active\n"


def test_stopping_both_units_stops_for_good(chat: Service) -> None:
    chat.machine.systemctl("stop", chat.socket, chat.service)

    assert inodes(chat) == []
    assert processes(chat) == ""
    assert chat.machine.systemctl("is-failed", chat.socket, chat.service, check=False).returncode


def test_a_stop_gives_workers_the_time_that_they_may_take(new: Service) -> None:
    """It asks them to end; a slow worker may take its time, and keeps its clients."""
    new.release("one-more", "stubborn")
    new.machine.write(
        new.config, new.machine.read(new.config).replace('kill_after = "2s"', 'kill_after = "20s"')
    )
    new.start()
    with new.hold(10) as held:
        held.wait_open()
        stopping = new.machine.launch("systemctl", "stop", new.socket, new.service)
        wait_until(
            lambda: new.machine.show(new.service, "StatusText").startswith("stopping"),
            within=STOP_SLACK,
            what="a stop under way",
            every=0.05,
        )
        verdict = held.finish()
        assert stopping.wait(STOP_SLACK) == 0
        assert stopping.communicate()[0] == ""
    assert verdict.broken == ()
    assert new.machine.show(new.service, "Result") == "success"


@pytest.mark.parametrize("variant", ["well", "stubborn"])
def test_a_stop_ends_in_time_whatever_the_workers_do(new: Service, variant: str) -> None:
    """`stop` 3 s and kill_after 2 s in the configuration."""
    new.release("one-more", variant)
    new.start()
    with new.hold(10) as held:
        held.wait_open()
        begun = time.monotonic()
        new.machine.systemctl("stop", new.socket, new.service)
        took = time.monotonic() - begun
        verdict = held.finish()

    assert took < 3 + 2 + STOP_SLACK
    assert len(verdict.broken) == 10
    assert new.machine.show(new.service, "Result") == "success"
    assert processes(new) == ""


def test_a_stop_longer_than_systemds_own_limit_is_not_cut_short(new: Service) -> None:
    """The daemon asks for more time while it drains: TimeoutStopSec= is for one that hangs."""
    new.drop_in(new.service, "limit", "[Service]\nTimeoutStopSec=2\n")
    limits = new.machine.read(new.config).replace('timeout = "3s"', 'timeout = "8s"')
    new.machine.write(new.config, limits.replace('kill_after = "2s"', 'kill_after = "20s"'))
    new.release("one-more", "stubborn")
    new.start()
    with new.hold(10) as held:
        held.wait_open()
        begun = time.monotonic()
        new.machine.systemctl("stop", new.socket, new.service)
        took = time.monotonic() - begun
        assert len(held.finish().broken) == 10

    assert took > 7
    assert new.machine.show(new.service, "Result") == "success"


def test_fewer_slots_than_before_are_told_and_serve_everybody(chat: Service) -> None:
    chat.machine.systemctl("stop", chat.socket, chat.service)
    path = f"/etc/systemd/system/{chat.socket}.d/address.conf"
    line = "ListenStream=127.0.0.1:8765\n"
    chat.machine.write(path, chat.machine.read(path).replace(line, "", 12))
    chat.machine.systemctl("daemon-reload")
    chat.machine.systemctl("start", chat.socket, chat.service)

    assert "ws has 10 slots, had 22" in chat.machine.show(chat.service, "StatusText")
    assert "; 22 before its last start" in chat.ctl("status").stdout
    with chat.load() as clients:
        chat.reload()
        clients.more(100)
        clients.assert_unnoticed(chat.cutovers)
