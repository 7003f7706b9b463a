"""User= is changed under a living instance, and its supervisor dies: nothing is given up unsaid."""

from examples.load.waiting import wait_until
from tests.e2e.death import kill, wait_next
from tests.e2e.service import Service

HELD = 20


def run_as(service: Service, user: str) -> None:
    path = f"/etc/systemd/system/{service.service}.d/user.conf"
    text = service.machine.read(path)
    before = next(line for line in text.splitlines() if line.startswith("User="))
    service.machine.write(path, text.replace(before, f"User={user}"))
    service.machine.run("chgrp", user, service.config)
    service.machine.systemctl("daemon-reload")


def wait_refusal(service: Service) -> str:
    """What the supervisor of another user says of workers that it may not supervise."""

    def refusals() -> list[str]:
        words = [str(entry["MESSAGE"]) for entry in service.journal()]
        return [line for line in words if "cannot supervise them" in line]

    wait_until(refusals, what="a refusal", every=0.2)
    return refusals()[-1]


def users(service: Service) -> list[str]:
    """Of all workers that live."""
    listed = service.machine.run("ps", "-e", "-o", "user:20=,args=").stdout.splitlines()
    return sorted({line.split()[0] for line in listed if "app.py" in line})


def test_the_next_supervisor_says_what_to_do_and_both_ways_work(chat: Service) -> None:
    """Back again without a trace, or forward with a restart, which ends the old workers."""
    chat.machine.run("useradd", "--system", "gamer")
    before = chat.worker_pids()
    with chat.load(held=HELD) as clients:
        run_as(chat, "gamer")
        kill(chat)
        refusal = wait_refusal(chat)
        clients.more(50)
        run_as(chat, chat.account)
        chat.wait_serving()
        clients.more(50)
        clients.assert_unnoticed()
    for word in (*map(str, before), f"as user {chat.account}", "as user gamer"):
        assert word in refusal
    assert chat.worker_pids() == before

    run_as(chat, "gamer")
    kill(chat)
    wait_refusal(chat)
    assert f"systemctl restart {chat.service}" in refusal
    chat.systemctl("restart")
    chat.wait_serving()
    assert users(chat) == ["gamer"]

    # And a stop ends those of the other user, whether or not their supervisor lives.
    run_as(chat, chat.account)
    chat.machine.systemctl("stop", chat.service)
    assert users(chat) == []
    chat.machine.systemctl("start", chat.service)
    run_as(chat, "gamer")
    chat.drop_in(chat.service, "gap", "[Service]\nRestartSec=10min\n")
    chat.machine.systemctl("daemon-reload")
    kill(chat)
    wait_until(
        lambda: chat.machine.show(chat.service, "SubState") == "auto-restart",
        what="the pause before an automatic restart",
    )
    chat.machine.systemctl("stop", chat.socket, chat.service)
    assert users(chat) == []


def test_a_change_of_slice_or_sandbox_is_recovered_from_and_one_of_group_refused(
    chat: Service,
) -> None:
    before = chat.worker_pids()
    with chat.load(held=HELD) as clients:
        change(chat, "Slice=game.slice\nPrivateTmp=no\nProtectHome=yes\nProtectProc=default\n")
        wait_next(chat, kill(chat))
        chat.wait_serving()
        assert chat.worker_pids() == before
        chat.reload()
        clients.more(50)
        clients.assert_unnoticed(chat.cutovers)
    chat.wait_alone()

    chat.machine.run("groupadd", "--system", "gamers")
    change(chat, "Group=gamers\n")
    chat.machine.run("chgrp", "gamers", chat.config)
    kill(chat)
    wait_refusal(chat)
    chat.systemctl("restart")
    chat.wait_serving()


def change(service: Service, lines: str) -> None:
    service.drop_in(service.service, "change", f"[Service]\n{lines}")
    service.machine.systemctl("daemon-reload")
