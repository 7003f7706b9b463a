"""What happened is known after a death, a restart, an upgrade, and when the disk says no."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.runtime.history_file import OLDER, HistoryFile

WITHIN = 15.0


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
        warning = "history cannot be written down"
        assert daemon.log().count(warning) == 2, "once for each program"
        (tmp_path / "missing").mkdir()
        settings.releases.install("two")
        daemon.reload()
        assert '"cutover"' in (tmp_path / "missing/events.jsonl").read_text()
        assert daemon.stop() == 0


def test_since_goes_by_the_wall_clock_and_instants_of_another_boot_are_dropped(
    settings: Settings, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    old = {"at": "2020-01-02T03:04:05.678Z", "kind": "cutover", "monotonic": 9e9}
    (state / "events.jsonl").write_text(json.dumps(old) + "\n")
    with remembering(settings, state) as daemon:
        daemon.start()
        everything = events(daemon)
        recent = kinds(events(daemon, "--since", "1h"))

        assert everything[0] == {"at": old["at"], "kind": "cutover"}
        assert recent == kinds(everything[1:])
        assert "started" in recent
        assert daemon.ctl("events").out.startswith("2020-01-02 03:04:05  cutover")


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_torn_line_costs_only_itself(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "events.jsonl"
    whole = b'{"at": "2026-11-25T00:00:00.000Z", "kind": "started"}\n'
    path.write_bytes(whole + b'{"at": "2026-11-25T00:00:01.0' + end + (b"[7]\n" if end else b""))
    file = HistoryFile(str(path), size=10_000)
    file.append({"at": "2026-11-25T00:00:02.000Z", "kind": "recovered"})
    file.close()

    assert kinds(file.read(most=10)) == ["started", "recovered"]


def test_two_files_of_bounded_size_keep_the_last_entries(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    file = HistoryFile(str(path), size=1_000)
    for number in range(100):
        file.append({"at": "2026-11-25T00:00:00.000Z", "kind": "cutover", "number": number})
    file.close()
    numbers = [one["number"] for one in file.read(most=10)]

    assert numbers == list(range(90, 100))
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, path.name + OLDER]
    assert all(one.stat().st_size <= 1_000 for one in tmp_path.iterdir())
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_leaves_no_file_behind(settings: Settings) -> None:
    settings.releases.install("broken", "fails_at_once")
    with Daemon(replace(settings, ready_timeout="5s")) as daemon:
        assert daemon.run_to_its_end(WITHIN) == 1
        assert daemon.leftovers() == []
