"""The supervisor becomes another program under load: nothing is lost, nothing forgotten."""

import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import children_of
from tests.harness.daemon import ROOT, Daemon, unchanged
from tests.harness.load import load
from tests.harness.settings import Settings

MOST_GROWN = 20 << 20
ANSWERS_AFTER = 200
STORM_ANSWERS = 300
ROUNDS = 10
RATE = 600.0
HELD = 300


def upgrade(daemon: Daemon) -> Mapping[str, object]:
    """One that must succeed."""
    answer = daemon.ctl("upgrade", "--json")
    assert answer.status == 0, answer
    return answer.document


@pytest.mark.storm
def test_upgrades_and_reloads_by_turns_under_load(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        with load(daemon, held=HELD, rate=RATE) as clients:
            cutovers = []
            pid = daemon.pid()
            for number in range(ROUNDS):
                settings.releases.install(f"release-{number}")
                cutovers.append(daemon.reload())
                found = upgrade(daemon)
                assert (found["pid"], found["executions"]) == (pid, number + 2)
                clients.more(STORM_ANSWERS)
            clients.assert_unnoticed(cutovers)

        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="end of all drains")
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_it_is_the_same_process_with_the_same_workers_and_descriptors(settings: Settings) -> None:
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        upgrade(daemon)  # what a program opens only once is open now
        clients.more(ANSWERS_AFTER)
        before, pids, status = daemon.descriptors(), daemon.active_pids(), daemon.status()
        upgrade(daemon)
        clients.more(ANSWERS_AFTER)

        assert unchanged(pids, daemon.active_pids())
        assert daemon.descriptors() == before
        after = daemon.status()
        assert after["pid"] == status["pid"]
        assert after["executions"] == 3
        assert after["uptime_seconds"] > status["uptime_seconds"]
        clients.assert_unnoticed()
        events = daemon.ctl("events", "--json").out
        assert events.count('"re-executed"') == 2
        assert '"started"' in events, "what happened before is forgotten"


def test_sigusr2_does_the_same(settings: Settings) -> None:
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        pids = daemon.active_pids()
        daemon.signal(signal.SIGUSR2)
        daemon.wait_for(lambda status: status["executions"] == 2, what="upgrade")
        clients.more(ANSWERS_AFTER)

        assert unchanged(pids, daemon.active_pids())
        clients.assert_unnoticed()


def test_a_reload_goes_on_in_the_new_program_and_its_requester_is_answered(
    settings: Settings, tmp_path: Path
) -> None:
    gated = replace(settings, environment={"GATE": str(tmp_path / "gate")})
    with Daemon(gated) as daemon, load(daemon.start()) as clients:
        settings.releases.install("gated", "gated")
        with daemon.launch_ctl("reload", "--json") as asking:
            daemon.wait_for(
                lambda status: (
                    len(status["generations"]) == 2
                    and all(one.get("pid") for one in status["generations"][0]["workers"])
                ),
                what="a candidate",
            )
            upgrade(daemon)
            (tmp_path / "gate").touch()
            out, err = asking.communicate(timeout=HANG_SECONDS)
        clients.more(ANSWERS_AFTER)

        assert (asking.returncode, err) == (0, "")
        assert '"generation": 2' in out
        assert daemon.active() == 2
        clients.assert_unnoticed()


def test_a_requester_who_goes_away_after_an_upgrade_cancels_his_reload(
    settings: Settings, tmp_path: Path
) -> None:
    gated = replace(settings, environment={"GATE": str(tmp_path / "gate")})
    with Daemon(gated) as daemon, load(daemon.start()) as clients:
        settings.releases.install("gated", "gated")
        with daemon.launch_ctl("reload") as asking:
            daemon.wait_for(lambda status: len(status["generations"]) == 2, what="a candidate")
            upgrade(daemon)
            wait_until(lambda: "verdict requested" in daemon.log(), what="another question")
            asking.kill()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="the cancellation")
        (tmp_path / "gate").touch()
        clients.more(ANSWERS_AFTER)

        assert daemon.active() == 1
        assert "its requester disconnected" in daemon.log()
        clients.assert_unnoticed()


def test_events_are_followed_through_an_upgrade(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        with daemon.launch_ctl("events", "--follow", "--json") as following:
            assert following.stdout is not None
            seen = [following.stdout.readline()]
            upgrade(daemon)
            settings.releases.install("two")
            daemon.reload()
            while '"cutover"' not in seen[-1]:
                seen.append(following.stdout.readline())
            following.kill()

        assert len(seen) == len(set(seen))
        assert sum('"re-executed"' in line for line in seen) == 1


def test_a_drain_goes_on_with_its_deadline(settings: Settings) -> None:
    limited = replace(settings, drain='timeout = "60s"')
    with Daemon(limited) as daemon, load(daemon.start()) as clients:
        settings.releases.install("two")
        daemon.reload()
        clients.more(ANSWERS_AFTER)
        (before,) = daemon.status()["generations"][1:]
        upgrade(daemon)
        (after,) = daemon.status()["generations"][1:]

        assert after["drain"]["deadline"] == pytest.approx(before["drain"]["deadline"])
        assert [one["pid"] for one in after["workers"]] == [one["pid"] for one in before["workers"]]
        clients.assert_unnoticed()


def test_a_worker_that_dies_afterwards_is_told_with_its_status_and_replaced(
    settings: Settings,
) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        upgrade(daemon)
        daemon.end_worker(daemon.active_pids()[0])
        daemon.wait_ready(settings.workers)

        assert "was killed by SIGKILL" in daemon.log()


def test_a_stop_afterwards_ends_everything(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        upgrade(daemon)

        assert daemon.stop() == 0
        assert daemon.leftovers() == []


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of the program, which a test may break."""
    copied = tmp_path / "program"
    shutil.copytree(ROOT / "wssupervisor", copied / "wssupervisor")
    return copied


BREAKAGES = {
    "does not parse": ("wssupervisor/fleet/core.py", "def def\n", "SyntaxError"),
    "cannot be imported": ("wssupervisor/daemon.py", "import missing_library\n", "missing_library"),
    "writes without end": (
        "wssupervisor/__main__.py",
        "while True:\n    print('x' * 65536)\n",
        "it wrote more than 1 MiB",
    ),
    "ends at once": ("wssupervisor/__main__.py", "raise SystemExit(3)\n", "it wrote nothing"),
    "knows another state": (
        "wssupervisor/runtime/handover/document.py",
        "VERSION = 2\n",
        "its state has version 1, wssupervisor 0.1.0 knows 2",
    ),
}


def peak_memory(daemon: Daemon) -> int:
    """In bytes; it never sinks."""
    status = Path(f"/proc/{daemon.pid()}/status").read_text()
    return 1024 * next(int(one.split()[1]) for one in status.splitlines() if "VmHWM" in one)


@pytest.mark.parametrize("what", BREAKAGES)
def test_a_program_that_cannot_take_over_changes_nothing(
    settings: Settings, program: Path, what: str
) -> None:
    name, code, reason = BREAKAGES[what]
    path = program / name
    written = path.read_text()
    broken = (
        written.replace("VERSION = 1\n", code) if code.startswith("VERSION") else code + written
    )
    with (
        Daemon(settings, variables={"PYTHONPATH": str(program)}) as daemon,
        load(daemon.start()) as clients,
    ):
        pids = daemon.active_pids()
        path.write_text(broken)
        memory = peak_memory(daemon)
        answer = daemon.ctl("upgrade")
        grown = peak_memory(daemon) - memory
        clients.more(ANSWERS_AFTER)

        assert answer.status == 1
        assert reason in answer.err
        assert "keeps running, unchanged" in answer.err
        assert grown < MOST_GROWN
        assert daemon.status()["executions"] == 1
        assert unchanged(pids, daemon.active_pids())
        path.write_text(written)
        upgrade(daemon)
        clients.assert_unnoticed()
        assert set(pids) <= set(children_of(daemon.pid()))


def test_a_program_that_hangs_on_trial_does_not_hold_up_the_old_one(
    settings: Settings, program: Path
) -> None:
    with Daemon(settings, variables={"PYTHONPATH": str(program)}) as daemon:
        daemon.start()
        path = program / "wssupervisor/__main__.py"
        path.write_text("import time\ntime.sleep(600)\n")
        with daemon.launch_ctl("upgrade") as asking:
            wait_until(
                lambda: len(children_of(daemon.pid())) > settings.workers,
                what="a trial",
            )
            again = daemon.ctl("upgrade")
            settings.releases.install("two")
            daemon.reload()
            asking.kill()
        wait_until(
            lambda: len(children_of(daemon.pid())) == settings.workers,
            what="the end of the trial, with its requester, and of the drain",
        )

        assert again.status == 75
        assert "an upgrade is already under way" in again.err


def test_an_instance_that_stops_is_not_upgraded(settings: Settings) -> None:
    patient = replace(settings, kill_after="40s", stop_timeout="60s")
    with Daemon(patient) as daemon, load(daemon.start()):
        daemon.settings.releases.install("stubborn", "stubborn")
        daemon.reload()
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: daemon.state() == "stopping", what="stopping")
        answer = daemon.ctl("upgrade")
        daemon.signal(signal.SIGTERM)  # enough now

        assert answer.status == 75
        assert "the instance is stopping" in answer.err


def test_af_unix_listeners_come_through(settings: Settings) -> None:
    with Daemon(replace(settings.shared, unix=True)) as daemon, load(daemon.start()) as clients:
        upgrade(daemon)
        clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()
