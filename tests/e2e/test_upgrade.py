"""Eight supervisors in one process, one after the other, under load on a real systemd."""

import pytest

from examples.load.waiting import wait_until
from tests.e2e.death import kill, wait_next
from tests.e2e.service import LOOK_EVERY, Service

UPGRADES = 8
HELD = 500
RATE = 300.0


def wait_executions(service: Service, count: int) -> None:
    wait_until(
        lambda: service.status()["executions"] == count,
        what=f"program {count}",
        every=LOOK_EVERY,
    )


@pytest.mark.slow("8 upgrades and 2 reloads, one after the other")
def test_8_upgrades_with_reloads_among_them(chat: Service) -> None:
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


AWAY = """
set -e
cp --preserve=mode /usr/bin/python3.13 /usr/bin/python3.13.new
cp -a /usr/lib/python3.13 /usr/lib/python3.13.new
mv /usr/lib/python3.13 /root/old-python
mv /usr/lib/python3/dist-packages /root/old-packages
"""
BACK = """
set -e
mv -f /usr/bin/python3.13.new /usr/bin/python3.13
mv /usr/lib/python3.13.new /usr/lib/python3.13
cp -a /root/old-packages /usr/lib/python3/dist-packages
rm -rf /root/old-python /root/old-packages
"""


def test_python_is_upgraded_under_a_running_daemon(chat: Service) -> None:
    """As unattended-upgrades does it: for a moment its files are gone, then they are others."""
    pid, workers = chat.main_pid(), chat.worker_pids()
    with chat.load() as clients:
        chat.machine.run("sh", "-c", AWAY)
        chat.machine.run("kill", "-HUP", str(pid))
        wait_until(
            lambda: (
                "reload failed" in chat.machine.journal("--output=cat", f"--unit={chat.service}")
            ),
            what="a failed reload, for want of a Python",
        )
        chat.machine.run("sh", "-c", BACK)
        assert (chat.main_pid(), chat.worker_pids()) == (pid, workers)
        chat.reload()
        wait_next(chat, kill(chat))
        assert "the supervisor now runs" in chat.ctl("upgrade").stdout
        chat.reload()
        clients.more(50)
        clients.assert_unnoticed(chat.cutovers)
    assert chat.machine.show(chat.service, "NRestarts") == "1"
