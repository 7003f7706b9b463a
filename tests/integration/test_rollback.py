"""Rolling back under load: to a warm generation, a cold one, one after the other, and badly."""

from dataclasses import replace

import pytest

from tests.harness.daemon import Daemon, unchanged
from tests.harness.load import load
from tests.harness.settings import Settings

ANSWERS_AFTER = 200
STORM_ANSWERS = 500
ROUNDS = 5
RATE = 1_000.0
HELD = 500


@pytest.fixture
def warm(settings: Settings) -> Settings:
    """Generations are kept for longer than these tests take."""
    return replace(settings, keep="60s")


@pytest.mark.storm
@pytest.mark.parametrize("keep", ["60s", "0s"])
def test_rolling_back_again_and_again_loses_and_misroutes_nothing(
    settings: Settings, keep: str
) -> None:
    """With `keep` the generation rolled back to is warm; without, its workers may be gone."""
    with Daemon(replace(settings, keep=keep)) as daemon:
        daemon.start()
        with load(daemon, held=HELD, rate=RATE) as clients:
            cutovers = []
            for number in range(ROUNDS):
                settings.releases.install(f"bad-{number}")
                cutovers.append(daemon.reload())
                clients.more(STORM_ANSWERS)
                cutovers.append(daemon.roll_back())
                clients.more(STORM_ANSWERS)
            clients.assert_unnoticed(cutovers)
        back = [cutover.generation for cutover in cutovers[1::2]]
        daemon.wait_for(
            lambda status: keep != "0s" or len(status["generations"]) == 1,
            what="the end of all but the active generation",
        )

        assert set(back) == {1}
        assert daemon.status()["last_reload"]["kind"] == "rollback"
        assert daemon.stop() == 0
        assert daemon.leftovers() == []


def test_a_warm_roll_back_is_served_by_the_very_same_processes(warm: Settings) -> None:
    with Daemon(warm) as daemon, load(daemon.start()) as clients:
        pids = daemon.active_pids()
        daemon.reload()
        clients.more(ANSWERS_AFTER)
        back = daemon.roll_back()
        clients.more(ANSWERS_AFTER)
        verdict = daemon.status()["last_reload"]
        print(f"warm: {verdict['seconds']} s")

        assert back.generation == 1
        assert unchanged(pids, daemon.active_pids())
        assert verdict["ok"] is True
        clients.assert_unnoticed([back])


def test_a_roll_back_runs_the_release_as_it_was(settings: Settings) -> None:
    """Also when all of it has gone: under a new number, and not what is installed now."""
    one = settings.releases.root / "releases" / "one"
    with Daemon(settings) as daemon:
        daemon.start()
        settings.releases.install("two")
        daemon.reload()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")
        with load(daemon) as clients:
            back = daemon.roll_back()
            clients.more(ANSWERS_AFTER)
            clients.assert_unnoticed([back])
        print(f"cold: {daemon.status()['last_reload']['seconds']} s, of them 0.1 s `stable`")

        assert back.generation == 3
        assert daemon.status()["generations"][0]["release"] == str(one)


def test_a_missing_worker_is_replaced_before_the_cutover(warm: Settings) -> None:
    with Daemon(warm) as daemon, load(daemon.start(), held=0) as clients:
        first = daemon.workers(1)
        daemon.reload()
        daemon.end_worker(first[0].pid)
        clients.more(ANSWERS_AFTER)
        back = daemon.roll_back()
        clients.more(ANSWERS_AFTER)
        pids = daemon.active_pids()
        clients.assert_unnoticed([back])

        assert back.generation == 1
        assert first[1].pid in pids
        assert first[0].pid not in pids
        assert len(pids) == 2


def test_a_roll_back_whose_release_is_broken_by_now_changes_nothing(warm: Settings) -> None:
    with Daemon(warm) as daemon, load(daemon.start(), held=0) as clients:
        first = daemon.workers(1)
        daemon.reload()
        daemon.end_worker(first[0].pid)
        app = warm.releases.root / "releases" / "one" / "app.py"
        app.write_text("raise SystemExit('the database schema is too new')")
        pids = daemon.active_pids()
        answer = daemon.ctl("rollback")
        clients.more(ANSWERS_AFTER)

        assert answer.status == 1
        assert "the database schema is too new" in answer.err
        assert daemon.active() == 2
        assert unchanged(pids, daemon.active_pids())
        assert [one.pid for one in daemon.workers(1)] == [first[1].pid]
        clients.assert_unnoticed()


def test_there_is_nothing_to_roll_back_to_at_first_and_after_a_roll_back(warm: Settings) -> None:
    with Daemon(warm) as daemon:
        daemon.start()
        at_first = daemon.ctl("rollback")
        daemon.reload()
        daemon.roll_back()
        after = daemon.ctl("rollback")

        assert (at_first.status, after.status) == (1, 1)
        assert "no generation to roll back to" in at_first.err
        assert daemon.active() == 1
