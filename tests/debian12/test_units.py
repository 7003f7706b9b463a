"""The units on systemd 252, installed as the guide for Debian 12 says."""

from collections.abc import Callable

from tests.e2e.death import kill, wait_next
from tests.e2e.machine import Machine
from tests.e2e.service import Counts, Service

WORKER = "#!/bin/sh\nexec /opt/wssupervisor/bin/python ./app.py well\n"


def install(machine: Machine) -> None:
    """docs/guides/debian-12.md; there the wheels come from PyPI."""
    python = "/opt/wssupervisor/bin/python"
    machine.run("python3", "-m", "venv", "--system-site-packages", "/opt/wssupervisor")
    machine.run(
        *(python, "-m", "pip", "install", "--no-index", "--find-links", "/root/wheels"),
        "wssupervisor",
    )
    for program in ("wssupervisor", "wssctl"):
        machine.run("ln", "-s", f"/opt/wssupervisor/bin/{program}", f"/usr/bin/{program}")
    machine.run("sh", "-c", "cp /root/source/units/wssupervisor@.* /etc/systemd/system/")
    finish = "/root/source/packaging/libexec/finish-stop"
    machine.run("install", "-D", finish, "-t", "/usr/libexec/wssupervisor/")
    machine.run("useradd", "--system", "--shell", "/usr/sbin/nologin", "wssupervisor")


def test_reloads_good_and_bad_an_upgrade_and_a_death_under_load(
    bookworm: Machine, record: Callable[[Counts], None]
) -> None:
    install(bookworm)
    chat = Service(bookworm, record)
    chat.release("one", script=WORKER)
    chat.init()
    chat.start()
    version = bookworm.run("systemctl", "--version").stdout.split()[1]
    python = bookworm.run("/opt/wssupervisor/bin/python", "--version").stdout
    print(f"systemd {version}, {python}")

    assert version == "252"
    with chat.load() as clients:
        for _ in range(3):
            chat.reload()
            clients.more(100)
        chat.release("bad", "fails_at_once")
        assert chat.systemctl("reload", check=False).returncode == 1
        assert "last reload FAILED" in bookworm.show(chat.service, "StatusText")
        chat.release("two", script=WORKER)
        chat.reload()
        clients.more(100)
        bookworm.systemctl("daemon-reexec")
        clients.more(100)
        chat.ctl("upgrade")
        clients.more(100)
        workers = chat.worker_pids()
        wait_next(chat, kill(chat))
        clients.more(100)
        assert chat.worker_pids() == workers
        chat.reload()
        clients.more(100)
        clients.assert_unnoticed(chat.cutovers)
    assert chat.status()["listeners"][0]["mode"] == "steered"
    chat.machine.systemctl("stop", chat.socket, chat.service)
