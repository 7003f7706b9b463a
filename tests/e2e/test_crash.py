"""The supervisor dies, or hangs and is killed, on a real systemd: the next one continues."""

import json
import os
import random
import signal
import time

import pytest

from examples.load.verdict import Cutover
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.e2e.death import kill, wait_next
from tests.e2e.descriptors import resting
from tests.e2e.service import Service
from wssupervisor.runtime.handover.attempts import SAME_MAX

DEATHS = UPGRADES = int(os.environ.get("WSSUPERVISOR_DEATHS", "6"))
"""Of each. For a longer run set the variable, or run ./dev soak."""
PAUSE_SECONDS = 2.0
"""From one to the next."""
SAME_PAUSES = "[Service]\nRestartSteps=0\n"
RELOAD_EVERY = 4
HELD = 500
RATE = 300.0
ANSWERS = 200
RECOVERED_WITHIN = 10.0

BUSY = """\
import signal

def loop(*_):
    while True:
        pass

signal.signal(signal.SIGRTMIN, loop)
"""
"""A sitecustomize with which a daemon can be made to hang, burning a processor."""


FORGES = """\
import sys
from wssupervisor.fleet.snapshot import plain
from wssupervisor.runtime.handover.state_file import StateFile

file = StateFile(sys.argv[1] + "/control.sock.state")
data = plain(file.read(sys.argv[2]))
data["document"]["listeners"]["listeners"][0]["pool"]["name"] = "other"
file.write_plain(data)
"""
"""Gives a state a listener that the instance does not have: no start can continue with that."""


def stored(service: Service) -> int:
    """Descriptors in systemd's store."""
    return int(service.machine.show(service.service, "NFileDescriptorStore"))


def descriptors(service: Service) -> int:
    return resting(service.machine, service.main_pid())


def processes(service: Service) -> list[str]:
    return service.machine.run("pgrep", "--full", "app.py|/wssup", check=False).stdout.split()


@pytest.mark.storm
@pytest.mark.timeout(0 if DEATHS > 10 else 300)
def test_deaths_and_upgrades_at_random_moments_with_reloads_among_them(chat: Service) -> None:
    seed = random.SystemRandom().randrange(10**6)
    dice = random.Random(seed)
    print(f"seed {seed}")
    acts = ["death"] * DEATHS + ["upgrade"] * UPGRADES
    dice.shuffle(acts)
    chat.drop_in(chat.service, "pauses", SAME_PAUSES)
    chat.machine.systemctl("daemon-reload")
    before = stored(chat), descriptors(chat)
    refused = 0
    with chat.load(held=HELD, rate=RATE) as clients:
        begun = time.monotonic()
        for number, act in enumerate(acts, 1):
            reloads = number % RELOAD_EVERY == 0
            active = chat.active()
            if reloads:
                chat.release(f"release-{number}")
                asking = chat.machine.launch("wssctl", "-i", chat.name, "reload", "--json")
            time.sleep(dice.uniform(0, 1.5) if reloads else dice.uniform(0, 0.3))
            if act == "death":
                wait_next(chat, kill(chat))
            elif chat.ctl("upgrade", check=False).returncode:
                refused += 1
            if reloads:
                said, _ = asking.communicate(timeout=HANG_SECONDS)
                if asking.returncode == 0:
                    chat.cutovers.append(Cutover.from_verdict(json.loads(said)))
                assert (chat.active() != active) == (asking.returncode == 0), said
            rest = begun + PAUSE_SECONDS * number - time.monotonic()
            time.sleep(max(0.0, rest))
        clients.more(ANSWERS)
        clients.assert_unnoticed(chat.cutovers)
    chat.wait_alone(60.0)

    print(f"{len(chat.cutovers)} cutovers; {refused} upgrades refused")
    assert refused == 0
    assert len(chat.worker_pids()) == chat.workers
    assert chat.machine.show(chat.service, "NRestarts") == str(DEATHS)
    assert len(processes(chat)) == chat.workers + 2, "workers, supervisor and the relay of output"
    assert (stored(chat), descriptors(chat)) == before
    chat.systemctl("stop")
    assert processes(chat) == []


def test_who_asks_in_the_moment_of_a_death_is_answered(chat: Service) -> None:
    chat.drop_in(chat.service, "zz-later", "[Service]\nRestartSec=5s\n")  # a moment that lasts
    chat.machine.systemctl("daemon-reload")
    with chat.load() as clients:
        chat.release("two")
        died = time.monotonic()
        pid = kill(chat)
        asking = chat.machine.launch("wssctl", "-i", chat.name, "reload", "--json")
        refused = chat.systemctl("reload", check=False)
        wait_next(chat, pid, RECOVERED_WITHIN)
        print(f"supervises again after {time.monotonic() - died:.2f} s")
        said, _ = asking.communicate(timeout=HANG_SECONDS)
        print(f"systemctl reload: {refused.stderr.strip()}")

        assert asking.returncode == 0, said
        assert refused.returncode == 1
        assert refused.stderr != ""
        chat.cutovers.append(Cutover.from_verdict(json.loads(said)))
        clients.more(ANSWERS)
        clients.assert_unnoticed(chat.cutovers)
    assert chat.active() == 2


def test_a_drain_and_its_deadline_outlive_the_supervisor(chat: Service) -> None:
    with chat.load() as clients:
        chat.reload()
        chat.ctl("drain", "1", "--within", "1h")
        (before,) = chat.status()["generations"][1:]
        wait_next(chat, kill(chat))
        (after,) = chat.status()["generations"][1:]

        assert [one["pid"] for one in after["workers"]] == [one["pid"] for one in before["workers"]]
        assert after["drain"]["deadline"][:-5] == before["drain"]["deadline"][:-5]
        clients.more(ANSWERS)
        clients.assert_unnoticed(chat.cutovers)
    chat.wait_alone()


def test_a_worker_that_died_meanwhile_is_replaced_from_its_own_release(chat: Service) -> None:
    """Though the configuration is invalid by now, and the release another one."""
    pids = chat.worker_pids()
    chat.release("two", "fails_at_once")
    chat.configure("nonsense = true\n")
    pid = chat.main_pid()
    chat.machine.run("kill", "-9", str(pid), str(pids[0]))
    wait_next(chat, pid)
    chat.wait_serving()
    now = chat.worker_pids()

    assert len(now) == chat.workers
    assert pids[1] in now
    assert pids[0] not in now
    text = chat.machine.journal(f"--unit={chat.service}")
    assert "a reload would fail: bad configuration" in text
    assert "was killed by SIGKILL" in text or "ended with an unknown status" in text


@pytest.mark.parametrize("how", ["stopped", "busy"])
def test_a_supervisor_that_hangs_is_replaced(new: Service, how: str) -> None:
    new.machine.write("/srv/hang/sitecustomize.py", BUSY)
    hang = "[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\nEnvironment=PYTHONPATH=/srv/hang\n"
    new.drop_in(new.service, "watchdog", hang)
    new.start()
    with new.load() as clients:
        pid = kill(new, signal.SIGSTOP if how == "stopped" else signal.SIGRTMIN)
        clients.more(ANSWERS)
        wait_next(new, pid)
        new.cutovers.clear()
        new.release("two")
        new.reload()
        clients.more(ANSWERS)
        clients.assert_unnoticed(new.cutovers)
    assert new.machine.show(new.service, "NRestarts") == "1"
    if how == "busy":
        assert "in loop" in new.machine.journal(f"--unit={new.service}"), "it says where it hung"


def test_sockets_that_the_daemon_bound_itself_outlive_it(new: Service) -> None:
    # Without the socket unit that `wssctl init` has the service require.
    new.drop_in(new.service, "user", "[Service]\nUser=wssupervisor\n")
    new.machine.systemctl("daemon-reload")
    text = new.machine.read(new.config)
    new.machine.write(
        new.config, text.replace('name = "ws"', f'name = "ws"\naddress = "127.0.0.1:{new.port}"')
    )
    new.machine.systemctl("enable", "--now", new.service)
    new.wait_serving()
    (listener,) = new.status()["listeners"]
    assert (listener["source"], listener["survives_supervisor"]) == ("self", True)
    with new.load() as clients:
        for _ in range(3):
            wait_next(new, kill(new))
            clients.more(ANSWERS)
            new.reload()
        clients.more(ANSWERS)
        clients.assert_unnoticed(new.cutovers)
    new.systemctl("stop")
    assert stored(new) == 0
    assert processes(new) == []


def test_a_stop_afterwards_ends_everything(chat: Service) -> None:
    for _ in range(2):
        wait_next(chat, kill(chat))
        chat.reload()
    wait_next(chat, kill(chat))
    chat.machine.systemctl("stop", chat.socket, chat.service)

    assert chat.machine.show(chat.service, "Result") == "success"
    assert processes(chat) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_a_stop_ends_everything_though_the_supervisor_does_not(
    new: Service, number: signal.Signals
) -> None:
    new.drop_in(new.service, "limit", "[Service]\nTimeoutStopSec=8\n")
    new.start()
    new.release("stubborn", "stubborn")
    new.reload()
    pid = new.main_pid()
    if number is signal.SIGSTOP:
        kill(new, number)
    stopping = new.machine.launch("systemctl", "stop", new.socket, new.service)
    if number is signal.SIGKILL:
        wait_until(
            lambda: new.machine.show(new.service, "StatusText").startswith("stopping"),
            what="a stop under way",
            every=0.05,
        )
        new.machine.run("kill", "-9", str(pid))
    said, _ = stopping.communicate(timeout=HANG_SECONDS)

    assert processes(new) == [], said
    new.machine.systemctl("reset-failed", check=False)
    new.switch("one")
    new.start()
    assert len(new.worker_pids()) == new.workers


@pytest.mark.parametrize("damage", ["rm -f {}", "truncate --size=100 {}", "sed -i s/boot/boat/ {}"])
def test_without_its_state_it_serves_anew(chat: Service, damage: str) -> None:
    """Clients of workers that no state names are lost; new clients are served."""
    files = f"/run/wssupervisor/{chat.name}/control.sock.state.*"
    with chat.load() as clients:
        # In one go: it is saved again whenever something happens.
        script = f"kill -9 {chat.main_pid()}; {damage.format(files)}"
        pid = chat.main_pid()
        chat.machine.run("sh", "-c", script)
        wait_next(chat, pid)
        chat.wait_serving()
        clients.more(ANSWERS)
        clients.assert_only_held_are_gone()
    assert len(chat.worker_pids()) == chat.workers
    if "rm" not in damage:
        text = chat.machine.journal(f"--unit={chat.service}")
        assert "state of the last supervisor is set aside" in text


def test_a_recovery_that_always_fails_is_given_up_and_it_serves_anew(chat: Service) -> None:
    """As a worker could write the state, which has the same user: no start ends well with it."""
    directory, pid = f"/run/wssupervisor/{chat.name}", chat.main_pid()
    with chat.load() as clients:
        chat.machine.run("kill", "-STOP", str(pid))  # nothing is written from now on
        forge = ("python3", "-c", FORGES, directory, chat.name)
        chat.machine.run("runuser", "-u", chat.account, "--", *forge)
        chat.machine.run("kill", "-9", str(pid))
        wait_next(chat, pid)
        chat.wait_serving()
        clients.more(ANSWERS)
        clients.assert_only_held_are_gone()

    assert len(chat.worker_pids()) == chat.workers
    text = chat.machine.journal(f"--unit={chat.service}")
    assert text.count("the recovery failed") == SAME_MAX
    assert "recovery given up: state of the last supervisor is set aside" in text
    chat.reload()
