"""What systemd itself does while an instance serves: reload, re-execute, ask for a sign of life."""

import pytest

from examples.load.waiting import wait_until
from tests.e2e.memory import little_memory
from tests.e2e.service import Service

RELOADS = 6


def state(service: Service) -> tuple[int, list[int], str]:
    sockets = service.machine.run("ss", "--tcp", "--listening", "--numeric", "--extended").stdout
    inodes = sorted(word for word in sockets.split() if word.startswith("ino:"))
    return service.main_pid(), service.worker_pids(), " ".join(inodes)


@pytest.mark.parametrize("verb", ["daemon-reload", "daemon-reexec"])
def test_the_managers_own_reload_changes_nothing(chat: Service, verb: str) -> None:
    before = state(chat)
    with chat.load() as clients:
        for _ in range(3):
            chat.machine.systemctl(verb)
            clients.more(50)
        assert state(chat) == before
        chat.reload()
        clients.more(50)
        clients.assert_unnoticed(chat.cutovers)


def test_a_changed_drop_in_of_the_socket_takes_effect_when_both_were_stopped(
    chat: Service,
) -> None:
    """wssupervisor(8), UNITS. A restart of the socket unit is one of both."""
    path = f"/etc/systemd/system/{chat.socket}.d/address.conf"
    chat.machine.write(path, chat.machine.read(path) + "ListenStream=127.0.0.1:8765\n" * 4)
    before = state(chat)
    (listener,) = chat.status()["listeners"]
    with chat.load() as clients:
        chat.machine.systemctl("daemon-reload")
        chat.reload()
        clients.more(50)
        assert state(chat)[2] == before[2]
        clients.assert_unnoticed(chat.cutovers)
    chat.systemctl("restart")
    assert state(chat)[2] == before[2]

    chat.machine.systemctl("restart", chat.socket)
    chat.wait_serving()
    assert chat.status()["listeners"][0]["slots"] == listener["slots"] + 4


def test_the_watchdog_is_answered_through_reloads(new: Service) -> None:
    """By the loop that supervises; it would restart the service otherwise."""
    new.drop_in(new.service, "watchdog", "[Service]\nWatchdogSec=2\n")
    new.start()
    before = new.main_pid()
    with new.load() as clients:
        for _ in range(RELOADS):
            new.reload()
            clients.more(150)
        clients.assert_unnoticed(new.cutovers)

    assert (new.main_pid(), new.machine.show(new.service, "NRestarts")) == (before, "0")


def test_a_worker_that_the_kernel_kills_for_memory_does_not_stop_the_unit(new: Service) -> None:
    new.release("hungry", "greedy")
    new.start()
    before = new.main_pid()
    [victim, spared] = new.worker_pids()
    assert new.machine.show(new.service, "OOMPolicy") == "continue"
    with new.hold() as held:
        held.wait_open()
        with little_memory(new.machine, new.service, victim) as kills:
            new.machine.run("kill", "-USR2", str(victim))
            wait_until(
                lambda: victim not in new.worker_pids() and len(new.worker_pids()) == 2,
                what="a replacement",
                every=0.2,
            )
            assert kills() == 1
        verdict = held.finish()
    lost = sum(count for (_, pid), count in verdict.by_worker.items() if pid == victim)

    assert len(verdict.broken) == lost
    assert new.systemctl("is-active").stdout == "active\n"
    assert new.main_pid() == before
    assert spared in new.worker_pids()
    with new.load() as clients:
        clients.more(100)
        clients.assert_unnoticed()
