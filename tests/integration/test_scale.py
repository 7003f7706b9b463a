"""More workers and fewer, under load."""

import time
from dataclasses import replace

import pytest

from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings

ANSWERS_AFTER = 300
HELD = 60


def test_scaling_up_and_down_loses_no_connection(settings: Settings) -> None:
    with Daemon(settings) as daemon, load(daemon.start(), held=HELD) as clients:
        for count in (4, 1, 3, 2):
            answer = daemon.ctl("scale", str(count))
            assert answer.status == 0, answer
            daemon.wait_ready(count)
            clients.more(ANSWERS_AFTER)
        clients.assert_unnoticed()
        daemon.wait_for(
            lambda status: len(status["generations"][0]["workers"]) == 2,
            what="the end of those that were scaled away",
        )

        assert daemon.status()["workers_wanted"] == 2


def test_new_connections_reach_the_added_and_leave_the_removed(settings: Settings) -> None:
    with Daemon(settings) as daemon, load(daemon.start(), held=0) as clients:
        daemon.ctl("scale", "3")
        daemon.wait_ready(3)
        (added,) = [one.pid for one in daemon.workers() if one.index == 2]
        clients.more(ANSWERS_AFTER)
        daemon.ctl("scale", "2")
        gone = time.monotonic()
        clients.more(ANSWERS_AFTER)
        notes = clients.assert_unnoticed()

        assert [note for note in notes if note.pid == added and note.start < gone] != []
        assert [note for note in notes if note.pid == added and note.start > gone] == []


@pytest.mark.parametrize("written", [2, 3])
def test_a_scale_survives_reloads_until_the_file_changes(settings: Settings, written: int) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        daemon.ctl("scale", "4")
        daemon.wait_ready(4)
        replace(settings, workers=written).write()
        daemon.reload()
        status = daemon.status()
        expected = 4 if written == 2 else 3

        assert (status["workers_wanted"], status["workers_configured"]) == (expected, written)
        assert len(daemon.active_pids()) == expected


def test_when_slots_run_out_they_are_shared_and_nothing_is_lost(settings: Settings) -> None:
    few = replace(settings, workers=1, max_draining=1)  # 1 x (2 + 1) + 2 slots
    with Daemon(few) as daemon, load(daemon.start(), held=HELD) as clients:
        for count in (8, 3, 6, 1):
            assert daemon.ctl("scale", str(count)).status == 0
            daemon.wait_ready(count)
            clients.more(ANSWERS_AFTER)
        refused = daemon.ctl("reload")
        clients.assert_unnoticed()
        daemon.wait_for(
            lambda status: sum(len(one["workers"]) for one in status["generations"]) == 1,
            what="the end of those that were scaled away",
        )

        # As long as those hold all other slots, with their clients, a reload may have none.
        assert refused.status == 0 or daemon.hint("drain 1 --within 0s") in refused.err
        assert daemon.reload().generation > 1


@pytest.mark.parametrize("count", ["0", "257", "-1"])
def test_an_impossible_number_is_refused(settings: Settings, count: str) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        answer = daemon.ctl("scale", "--", count)

        assert answer.status == 1
        assert "expected 1 to 256" in answer.err
