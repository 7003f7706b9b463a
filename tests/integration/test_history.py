"""What happened is known after a death, a restart, an upgrade, and when the disk says no."""

import json
import os
import pwd
import signal
import subprocess
import tracemalloc
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon, environment
from tests.harness.fd_store import FdStore
from tests.harness.settings import Settings
from wssupervisor.runtime.history.file import OLDER, READ_BYTES_MAX, HistoryFile

KEYS = [
    "at", "id", "kind", "via", "by", "by_pid", "release", "ok", "reason", "generation", "replaced",
    "seconds", "drain",
]  # fmt: skip


def events(daemon: Daemon, *options: str) -> list[dict[str, Any]]:
    answer = daemon.ctl("events", "--json", *options)
    assert answer.status == 0, answer
    return [json.loads(line) for line in answer.out.splitlines()]


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [one["kind"] for one in found]


def remembering(settings: Settings, state: Path) -> Daemon:
    """One that has a StateDirectory=, as under systemd."""
    state.mkdir(exist_ok=True)
    return Daemon(settings, variables={"STATE_DIRECTORY": str(state)})


def test_who_takes_over_from_one_that_died_knows_what_it_knew(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        settings.releases.install("two")
        daemon.reload()
        before = events(daemon)
        daemon.die()
        daemon.start()
        after = events(daemon)

        assert after[: len(before)] == before
        assert "recovered" in kinds(after[len(before) :])
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_a_clean_restart_remembers_where_there_is_a_state_directory(
    settings: Settings, tmp_path: Path
) -> None:
    with remembering(settings, tmp_path / "state") as daemon:
        daemon.start()
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
    with remembering(settings, tmp_path / "state") as daemon:
        found = kinds(events(daemon.start()))

        assert found.count("started") == 2
        assert found.index("stopped") < len(found) - 1


def test_an_upgrade_doubles_nothing_and_loses_nothing(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        before = events(daemon)
        for _ in range(2):
            assert daemon.ctl("upgrade").status == 0
        after = events(daemon)

        assert after[: len(before)] == before
        assert kinds(after[len(before) :]) == ["re-executed", "re-executed"]


def test_where_nothing_can_be_written_it_serves_warns_once_and_carries_its_memory_over_an_upgrade(
    settings: Settings, tmp_path: Path
) -> None:
    variables = {"STATE_DIRECTORY": str(tmp_path / "missing")}
    with Daemon(settings, variables=variables) as daemon:
        daemon.start()
        assert daemon.ctl("upgrade").status == 0
        found = kinds(events(daemon))

        assert (found.count("started"), found.count("re-executed")) == (1, 1)
        warning = "cannot write the history"
        assert daemon.log().count(warning) == 4, "once for each program and file"
        (tmp_path / "missing").mkdir()
        settings.releases.install("two")
        daemon.reload()
        assert '"cutover"' in (tmp_path / "missing/supervisor/events.jsonl").read_text()
        assert daemon.stop() == 0


def test_since_goes_by_the_wall_clock_and_instants_of_another_boot_are_dropped(
    settings: Settings, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    (state / "supervisor").mkdir(parents=True)
    old = {"at": "2020-01-02T03:04:05.678Z", "kind": "scaled", "monotonic": 9e9}
    (state / "supervisor/events.jsonl").write_text(json.dumps(old) + "\n")
    with remembering(settings, state) as daemon:
        daemon.start()
        everything = events(daemon)
        recent = kinds(events(daemon, "--since", "1h"))

        assert everything[0] == {"at": old["at"], "kind": "scaled"}
        assert recent == kinds(everything[1:])
        assert "started" in recent
        local = datetime.fromisoformat(old["at"]).astimezone()  # type: ignore[arg-type]
        assert daemon.ctl("events").out.startswith(f"{local.isoformat(' ', 'seconds')}  scaled")


def history(daemon: Daemon, *options: str) -> list[dict[str, Any]]:
    answer = daemon.ctl("history", "--json", *options)
    assert answer.status == 0, answer
    return [json.loads(line) for line in answer.out.splitlines()]


def drain_over(daemon: Daemon) -> None:
    daemon.wait_for(lambda status: len(status["generations"]) == 1, what="the drain's end")


def test_history_tells_of_each_reload_who_asked_its_verdict_and_the_drain_also_after_a_death(
    settings: Settings, tmp_path: Path
) -> None:
    with Daemon(settings) as daemon:
        assert daemon.start().ctl("history").out == "no reload yet\n"
        with daemon.held(tmp_path, 7) as held:
            held.wait_open()
            two = settings.releases.install("two")
            with daemon.launch_ctl("reload") as asking:
                asking.wait(HANG_SECONDS)
            daemon.wait_for(
                lambda status: status["generations"][1]["connections"] == 7,
                what="a count",
            )
            assert daemon.ctl("drain", "1", "--within", "0s").status == 0
            drain_over(daemon)
        three = settings.releases.install("three", "fails_at_once")
        assert daemon.ctl("reload").status == 1
        assert daemon.ctl("rollback").status == 0
        daemon.die()
        daemon.start()
        first, second, third = history(daemon)
        shown = daemon.ctl("history").out

        user = pwd.getpwuid(os.geteuid()).pw_name
        assert list(first) == list(third) == KEYS
        assert (first["id"], first["kind"], first["ok"]) == ("r1", "reload", True)
        assert (first["via"], first["by"], first["by_pid"]) == ("wssctl", user, asking.pid)
        assert (first["generation"], first["replaced"]) == (2, 1)
        assert (first["release"], first["reason"]) == (str(two), None)
        assert 0 < first["seconds"] < HANG_SECONDS
        drain = first["drain"]
        assert 0 < drain.pop("seconds") < HANG_SECONDS
        assert drain == {
            "state": "over", "connections": 7, "drained": 0, "forced": 7, "lost": 0
        }  # fmt: skip
        assert (second["id"], second["ok"], second["release"]) == ("r2", False, str(three))
        assert "exited with status" in second["reason"]
        assert second["drain"] is None
        assert (third["kind"], third["ok"], third["replaced"]) == ("rollback", True, 2)
        assert "r1 reload  generation 2 is active (" in shown
        assert f"    by {user} (pid {asking.pid}), release {two}\n" in shown
        assert "generation 1 drained 7 connections in " in shown
        assert ": 7 forced, 0 lost" in shown
        assert "r2 reload  FAILED (" in shown


def test_history_tells_a_signal_from_a_client_and_connections_that_a_crash_cost(
    settings: Settings, tmp_path: Path
) -> None:
    with Daemon(replace(settings, workers=1)) as daemon:
        daemon.start()
        with daemon.held(tmp_path, 4) as held:
            held.wait_open()
            settings.releases.install("two")
            daemon.signal(signal.SIGHUP)
            daemon.wait_for(
                lambda status: (
                    [one["connections"] for one in status["generations"]] == [0, 4]
                    and status["generations"][1]["state"] == "draining"
                ),
                what="a drain of four",
            )
            (found,) = history(daemon)
            assert found["drain"]["state"] == "draining"
            os.kill(daemon.workers(1)[0].pid, signal.SIGKILL)
            drain_over(daemon)
        (found,) = history(daemon)

        assert (found["via"], found["by"], found["by_pid"]) == ("SIGHUP", None, None)
        assert (found["drain"]["lost"], found["drain"]["forced"]) == (4, 0)
        assert "    by SIGHUP, release " in daemon.ctl("history").out


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_torn_line_costs_only_itself(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "events.jsonl"
    whole = b'{"at": "2026-11-25T00:00:00.000Z", "kind": "started"}\n'
    path.write_bytes(whole + b'{"at": "2026-11-25T00:00:01.0' + end + (b"[7]\n" if end else b""))
    file = HistoryFile(str(path), size=10_000)
    file.append({"at": "2026-11-25T00:00:02.000Z", "kind": "recovered"})
    file.close()

    assert [one["kind"] for one in file.read(most=10)] == ["started", "recovered"]


def test_a_file_of_millions_of_lines_costs_no_more_memory_than_its_size(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    entry = b'{"at":"2026-11-25T00:00:00.000Z","kind":"started"}\n'
    path.write_bytes(b"no\n" * (READ_BYTES_MAX // 3) + entry)
    file = HistoryFile(str(path), size=10_000)

    tracemalloc.start()
    try:
        found = file.read(most=10)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [one["kind"] for one in found] == ["started"]
    assert peak < 3 * READ_BYTES_MAX  # the text, and once more while it is put together


def test_two_files_of_bounded_size_keep_the_last_entries(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = HistoryFile(str(path), size=1_000)
    for number in range(100):
        file.append({"at": "2026-11-25T00:00:00.000Z", "kind": "scaled", "by_pid": number})
    file.close()
    numbers = [one["by_pid"] for one in file.read(most=10)]

    assert numbers == list(range(90, 100))
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, path.name + OLDER]
    assert all(one.stat().st_size <= 1_000 for one in tmp_path.iterdir())
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_history_tells_systemds_own_client_from_others(settings: Settings) -> None:
    """Systemd starts it beside us, in our control group: as this test starts both."""
    with FdStore() as store:
        variables = {"INVOCATION_ID": "of the service"}
        with Daemon(settings, sockets=store, variables=variables) as daemon:
            daemon.start()
            for shell in ((), ("sh", "-c", '"$@"; exit "$?"', "-")):
                settings.releases.install(f"release-{len(shell)}")
                command = [*shell, *daemon.ctl_command("reload")]
                subprocess.run(command, env=environment(), check=True, timeout=HANG_SECONDS)
            first, second = history(daemon)

            assert (first["via"], second["via"]) == ("systemd", "wssctl")
            assert "    by systemd (systemctl reload), release " in daemon.ctl("history").out
            assert daemon.stop() == 0


def test_a_drain_that_a_stop_cuts_short_is_not_called_drained(
    settings: Settings, tmp_path: Path
) -> None:
    with remembering(settings, tmp_path / "state") as daemon:
        daemon.start()
        with daemon.held(settings.releases.root, 5) as held:
            held.wait_open()
            wait_until(
                lambda: daemon.status()["generations"][0]["connections"] == 5,
                what="a count of those that are held",
            )
            daemon.reload()
            assert daemon.stop() == 0
    with remembering(settings, tmp_path / "state") as daemon:
        (found,) = history(daemon.start())
        text = daemon.ctl("history").out

    assert found["drain"] == {
        "state": "cut-off", "seconds": found["drain"]["seconds"],
        "connections": 5, "drained": 0, "forced": 5, "lost": 0,
    }  # fmt: skip
    assert "    generation 1 was cut short after " in text
    assert ": 5 of 5 connections closed\n" in text


def test_the_mistakes_of_a_configuration_have_a_line_each_wherever_a_reload_is_told(
    settings: Settings,
) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        settings.path.write_text(
            settings.text().replace("[drain]", "kepe = 1\n[drain]").replace("[stop]", "[spot]")
        )
        answer = daemon.ctl("reload")
        told = daemon.ctl("history").out.splitlines()

        assert answer.status == 1
        first, *mistakes = answer.err.splitlines()
        assert first == "wssctl: the configuration cannot be used (2 mistakes):"
        begins = (f"{settings.path}: [spot]: no such table", f"{settings.path}: [ready] kepe: no")
        assert [one.startswith(begins) for one in mistakes] == [True, True]
        assert told[0].endswith("): the configuration cannot be used (2 mistakes):")
        assert told[1:3] == [f"    {one}" for one in mistakes]
        # One line is one event, and one line of the status.
        event = daemon.ctl("events").out.splitlines()[-1]
        assert f"(2 mistakes): {mistakes[0]}; {mistakes[1]}" in event
        assert f"FAILED: the configuration cannot be used (2 mistakes): {mistakes[0]}; " in (
            daemon.ctl("status").out
        )


def test_a_failed_start_leaves_no_file_behind(settings: Settings) -> None:
    settings.releases.install("broken", "fails_at_once")
    with Daemon(replace(settings, ready_timeout="5s")) as daemon:
        assert daemon.run_to_its_end() == 1
        assert daemon.leftovers() == []
