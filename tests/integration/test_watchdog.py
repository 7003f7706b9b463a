"""Workers without a heartbeat get no new connections, and are replaced if they stay silent."""

import json
import signal
from dataclasses import replace

from examples.load.verdict import judge
from tests.harness.census import send
from tests.harness.daemon import Daemon
from tests.harness.library import holding, polite, storm
from tests.harness.settings import Settings

__all__ = ["polite"]


def stuck(settings: Settings, seconds: float, replace_after: str) -> Settings:
    more = f'[watchdog]\ninterval = "1s"\nreplace_after = "{replace_after}"'
    variables = {**settings.environment, "STUCK_SECONDS": str(seconds)}
    return replace(settings, more=more, environment=variables)


def test_a_stuck_worker_gets_nothing_new_and_is_replaced_with_what_it_had(
    polite: Settings,
) -> None:
    with Daemon(stuck(polite, 600.0, "3s")) as daemon:
        daemon.start()
        with holding(daemon, 20, patience=60.0) as held:
            held.wait_open()
            victim = daemon.active_pids()[0]
            send(victim, signal.SIGUSR2)
            daemon.wait_for(lambda status: status["state"] == "degraded", what="mute")
            with storm(daemon) as arriving:
                arriving.wait_answered(200)
                notes = arriving.finish()
            daemon.wait_for(
                lambda status: (
                    status["state"] == "serving"
                    and victim not in [one["pid"] for one in status["generations"][0]["workers"]]
                ),
                what="its replacement",
            )
            verdict = held.finish()
        notes_kept = [json.loads(line) for line in daemon.ctl("events", "--json").out.splitlines()]

    lost = verdict.by_worker[1, victim]
    assert judge(notes).lost == 0
    assert victim not in {note.pid for note in notes}
    assert len(verdict.broken) == lost
    [mute] = [one for one in notes_kept if one["kind"] == "worker-unresponsive"]
    assert mute["pid"] == victim
    assert mute["seconds"] < 2.0, "two intervals"
    killed = [one for one in notes_kept if one["kind"] == "worker-killed"]
    assert [(one["pid"], one["connections"]) for one in killed] == [(victim, lost)]


def test_signs_of_life_by_sd_notify_count_as_well(settings: Settings) -> None:
    variables = {"SAYS_READY": "1"}
    notifying = replace(stuck(settings, 0.0, "60s"), ready_by="notify", environment=variables)
    with Daemon(notifying) as daemon:
        daemon.start()
        before = daemon.active_pids()
        with holding(daemon, 20) as held:  # without connections it would be replaced soon
            held.wait_open()
            send(before[0], signal.SIGSTOP)
            daemon.wait_for(lambda status: status["state"] == "degraded", what="mute")
            with daemon.storm(settings.releases.root, rate=100.0) as arriving:
                arriving.wait_answered(100)
                notes = arriving.finish()
            send(before[0], signal.SIGCONT)
            daemon.wait_for(lambda status: status["state"] == "serving", what="awake")
            assert held.finish().broken == ()

        assert judge(notes).lost == 0
        assert {note.pid for note in notes} == {before[1]}
        assert daemon.active_pids() == before


def test_one_that_wakes_again_serves_again(polite: Settings) -> None:
    with Daemon(stuck(polite, 4.0, "60s")) as daemon:
        daemon.start()
        before = daemon.active_pids()
        with holding(daemon, 20) as held:
            held.wait_open()
            send(before[0], signal.SIGUSR2)
            daemon.wait_for(lambda status: status["state"] == "degraded", what="mute")
            daemon.wait_for(lambda status: status["state"] == "serving", what="awake")
            assert held.finish().broken == ()

        assert daemon.active_pids() == before
        assert "worker recovered" in daemon.ctl("events").out
