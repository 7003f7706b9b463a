"""Twenty supervisors in one process, one after the other, under load on a real systemd."""

import pytest

from examples.load.waiting import wait_until
from tests.e2e.service import Service

UPGRADES = 20
HELD = 2_000
RATE = 500.0
SOON = 30.0


def wait_executions(service: Service, count: int) -> None:
    wait_until(
        lambda: service.status()["executions"] == count,
        within=SOON,
        what=f"program {count}",
        every=0.1,
    )


@pytest.mark.timeout(300)
def test_20_upgrades_with_reloads_among_them(chat: Service) -> None:
    pid = chat.main_pid()
    with chat.load(held=HELD, rate=RATE) as clients:
        for number in range(1, UPGRADES + 1):
            if number % 2:
                chat.ctl("upgrade")
            else:
                chat.machine.systemctl("kill", "--signal=SIGUSR2", "--kill-whom=main", chat.service)
            wait_executions(chat, number + 1)
            if number % 4 == 0:
                chat.reload()
        clients.assert_unnoticed(chat.cutovers)
    chat.wait_alone(60.0)

    assert chat.main_pid() == pid
    assert len(chat.worker_pids()) == chat.workers
    assert chat.machine.show(chat.service, "NRestarts") == "0"
    chat.systemctl("stop")
    assert chat.machine.run("pgrep", "--full", "app.py|/wssup", check=False).stdout == ""
