"""`systemctl reload`: a verdict that can be trusted, in each way that a reload can go."""

import json
import re
import signal
from dataclasses import dataclass

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.e2e.service import Service

LATE_SECONDS = 2.0
"""What the release needs that is too late for a limit of one second."""
READY_THEN_DEAD = """#!/bin/sh
(sleep 1; echo the cache is corrupt; kill -9 $$) &
exec python3 ./app.py well
"""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What a reload that failed must have left alone."""

    main_pid: int
    workers: list[int]
    generation: int


def unchanged(service: Service) -> Unchanged:
    return Unchanged(service.main_pid(), service.worker_pids(), service.active())


def active_state(service: Service) -> tuple[str, str]:
    machine = service.machine
    return machine.show(service.service, "ActiveState"), machine.show(service.service, "Result")


def limit_reload(service: Service, ours: str, systemds: int) -> None:
    """A shorter limit for the client and for systemd than the unit has."""
    service.drop_in(
        service.service,
        "limit",
        "[Service]\nExecReload=\n"
        f"ExecReload=/usr/bin/wssctl -i %i reload --timeout {ours}\n"
        f"TimeoutStartSec={systemds}\n",
    )
    service.machine.systemctl("daemon-reload")


def test_a_good_reload(chat: Service) -> None:
    before = chat.main_pid()
    with chat.load() as clients:
        for name in ("two", "three"):
            chat.release(name)
            chat.reload()
            clients.more(50)
        generations = chat.status()["generations"]
        clients.assert_unnoticed(chat.cutovers)

    assert chat.main_pid() == before
    assert [one["release"].rpartition("/")[2] for one in generations][:1] == ["three"]
    chat.wait_alone()


@pytest.mark.parametrize(
    ("variant", "script", "reason"),
    [
        ("fails_at_once", None, "no such table: users"),
        ("exit_zero", None, "exited with status 0"),
        ("well", READY_THEN_DEAD, "the cache is corrupt"),
    ],
    ids=["fails at once", "exits with 0", "is ready, then dies"],
)
def test_a_bad_release_fails_the_reload_and_changes_nothing(
    new: Service, variant: str, script: str | None, reason: str
) -> None:
    chat = new
    chat.machine.write(chat.config, chat.machine.read(chat.config).replace("100ms", "1500ms"))
    chat.start()
    before = unchanged(chat)
    with chat.load() as clients:
        chat.release("bad", variant, script)
        done = chat.systemctl("reload", check=False)
        clients.more(50)
        said = {
            "systemctl reload": done.stdout + done.stderr,
            "systemctl status": chat.systemctl("status").stdout,
            "journal": "\n".join(str(entry["MESSAGE"]) for entry in chat.journal()),
        }
        assert done.returncode == 1, said
        assert "journalctl -xeu" in said["systemctl reload"]
        assert "last reload FAILED:" in said["systemctl status"]
        assert reason in said["journal"]
        assert reason in chat.ctl("reload", check=False).stderr
        assert active_state(chat) == ("active", "success")
        clients.assert_unnoticed()
    assert unchanged(chat) == before


def test_a_bad_configuration_fails_the_reload_and_changes_nothing(chat: Service) -> None:
    before = unchanged(chat)
    with chat.load() as clients:
        chat.configure("[drian]\n")
        done = chat.systemctl("reload", check=False)
        clients.more(50)
        assert done.returncode == 1
        assert "did you mean drain?" in chat.systemctl("status").stdout
        clients.assert_unnoticed()
    assert unchanged(chat) == before


def test_a_reload_during_another_is_refused_and_the_first_one_succeeds(chat: Service) -> None:
    chat.release("slow", script="#!/bin/sh\nsleep 2\nexec python3 ./app.py well\n")
    with chat.load() as clients:
        first = chat.machine.launch("systemctl", "reload", chat.service)
        wait_until(
            lambda: chat.status()["state"] == "reloading",
            what="the first reload",
            every=0.05,
        )
        second = chat.ctl("reload", check=False)
        assert second.returncode == 75
        assert "a reload is under way" in second.stderr
        assert (first.wait(60), first.communicate()[0]) == (0, "")
        clients.more(50)
        clients.assert_unnoticed()
    assert chat.active() == 2


def test_a_stopped_supervisor_fails_the_reload_in_time_and_does_not_cut_over_later(
    chat: Service,
) -> None:
    limit_reload(chat, "1s", 60)
    before = unchanged(chat)
    chat.release("two")
    with chat.load() as clients:
        chat.machine.run("kill", "-STOP", str(before.main_pid))
        try:
            done = chat.systemctl("reload", check=False)
            clients.more(50)  # serving does not need the supervisor
        finally:
            chat.machine.run("kill", "-CONT", str(before.main_pid))
        assert done.returncode == 1
        assert active_state(chat) == ("active", "success")
        clients.more(200)
        assert unchanged(chat) == before
        clients.assert_unnoticed()
    assert not [note for note in chat.journal() if note["MESSAGE"].startswith("cutover")]


@pytest.mark.parametrize(
    ("ours", "systemds"), [("1s", 60), ("60s", 1)], ids=["own limit", "limit of systemd"]
)
def test_a_reload_past_its_limit_fails_and_does_not_cut_over_later(
    chat: Service, ours: str, systemds: int
) -> None:
    limit_reload(chat, ours, systemds)
    before = unchanged(chat)
    chat.release("slow", script=f"#!/bin/sh\nsleep {LATE_SECONDS}\nexec python3 ./app.py well\n")
    with chat.load() as clients:
        done = chat.systemctl("reload", check=False)
        clients.more(50)
        assert done.returncode == 1
        assert active_state(chat) == ("active", "success")
        wait_until(
            lambda: chat.status()["last_reload"] is not None,
            what="the end of the reload",
        )
        clients.more(int(2 * LATE_SECONDS * 150))  # longer than the release would have needed
        assert unchanged(chat) == before
        clients.assert_unnoticed()
    chat.wait_alone()


def test_ctrl_c_in_systemctl_reload_cancels_nothing_and_a_kill_of_its_control_process_does(
    chat: Service,
) -> None:
    """As wssupervisor(8) says. `wssctl reload` is cancelled by Ctrl-C (test_cancel.py)."""
    before = unchanged(chat)
    chat.release("slow", script="#!/bin/sh\nsleep 3\nexec python3 ./app.py well\n")
    # Tests that run in the background have SIGINT ignored, which is inherited.
    with_signals = ("env", "--default-signal=INT")
    asking = chat.machine.launch(*with_signals, "systemctl", "reload", chat.service)
    wait_reloading(chat)
    chat.machine.run("pkill", "-INT", "--full", "systemctl reload")
    assert asking.wait(HANG_SECONDS) != 0
    asking.communicate()
    wait_until(lambda: chat.active() == 2, what="the cutover", every=0.1)

    chat.release("never", "never_ready")
    asking = chat.machine.launch("systemctl", "reload", chat.service)
    wait_reloading(chat)
    chat.machine.systemctl("kill", "--kill-whom=control", chat.service)
    assert asking.wait(HANG_SECONDS) != 0
    asking.communicate()
    wait_until(
        lambda: chat.status()["last_reload"]["ok"] is False,
        what="the end of the reload",
    )
    assert chat.active() == 2
    assert chat.main_pid() == before.main_pid
    assert active_state(chat) == ("active", "success")


def wait_reloading(service: Service) -> None:
    wait_until(
        lambda: service.status()["state"] == "reloading",
        what="a reload under way",
        every=0.1,
    )


def test_a_reload_of_a_service_that_drains_returns_before_the_drain_has_ended(
    chat: Service,
) -> None:
    with chat.hold(10) as held:
        held.wait_open()
        chat.reload()
        [new, old] = chat.status()["generations"]
        assert (new["state"], old["state"]) == ("active", "draining")
        wait_until(
            lambda: (
                chat.status()
                and re.search(
                    r"generation 1 draining, 2 workers, \d+ -> 10 connections",
                    chat.systemctl("status").stdout,
                )
            ),
            what="the drain in systemctl status",
            every=0.1,
        )
        assert "generation 2 active, 2 workers" in chat.systemctl("status").stdout
        assert held.finish().broken == ()
    chat.wait_alone()


def test_history_tells_who_asked_and_survives_a_restart(chat: Service) -> None:
    chat.reload()
    chat.wait_alone()
    chat.ctl("reload")
    chat.wait_alone()
    chat.systemctl("restart")
    found = [json.loads(line) for line in chat.ctl("history", "--json").stdout.splitlines()]
    assert [(one["id"], one["via"], one["ok"]) for one in found] == [
        ("r1", "systemd", True),
        ("r2", "wssctl", True),
    ]
    assert found[1]["by"] == "root"
    assert [one["drain"]["state"] for one in found] == ["over", "over"]


def test_hup_is_a_reload_too(chat: Service) -> None:
    chat.machine.run("kill", f"-{signal.SIGHUP.value}", str(chat.main_pid()))

    wait_until(lambda: chat.active() == 2, what="the second generation", every=0.1)
