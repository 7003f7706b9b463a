"""Workers that use the library: informed of a drain, and their connections closed politely."""

import sys
from collections import Counter
from dataclasses import replace

import pytest

from examples.load.verdict import judge
from examples.load.waiting import wait_until
from tests.harness.daemon import Daemon
from tests.harness.library import (
    GOING_AWAY,
    RESTART,
    closing,
    holding,
    polite,
    reasons,
    simple,
    storm,
    wait_log,
)
from tests.harness.settings import Settings

__all__ = ["polite", "simple"]


def test_reloads_lose_nobody_and_tell_the_application(polite: Settings) -> None:
    with Daemon(polite) as daemon:
        daemon.start()
        with holding(daemon, 40) as held, storm(daemon) as arriving:
            held.wait_open()
            cutovers = [daemon.reload(), daemon.reload()]
            arriving.wait_answered(100)
            verdict = judge(arriving.finish(), cutovers)
            assert held.finish().broken == ()
        wait_log(daemon, "1.0.1 | asked to drain")

        assert (verdict.lost, verdict.misrouted) == (0, 0)
        assert "asked to resume" not in daemon.log()


def test_a_roll_back_resumes_it(polite: Settings) -> None:
    with Daemon(polite) as daemon:
        daemon.start()
        with holding(daemon, 20) as held:
            held.wait_open()
            daemon.reload()
            wait_log(daemon, "1.1.1 | asked to drain")
            daemon.roll_back()
            wait_log(daemon, "1.1.1 | asked to resume")
            assert held.finish().broken == ()


def test_at_the_limit_all_are_asked_to_come_back_and_find_the_new_generation(
    polite: Settings,
) -> None:
    with Daemon(closing(polite, "500ms", "3s")) as daemon:
        daemon.start()
        with holding(daemon, 60, returns=True) as held:
            held.wait_open()
            daemon.reload()
            held.wait_broken(60)
            daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")
            verdict = held.finish()
        log = daemon.log()

    assert reasons(verdict) == {RESTART: 60}
    assert verdict.returned == {2: 60}
    first, last = verdict.broken[0].at, verdict.broken[-1].at
    assert last - first > 1.5, "all at once"
    assert "a new version is running" in verdict.broken[0].reason
    assert "worker killed" not in log


@pytest.mark.parametrize("within", ["0s", "2s"])
def test_drain_within_asks_politely(polite: Settings, within: str) -> None:
    with Daemon(closing(polite, "infinity", "30s")) as daemon:
        daemon.start()
        with holding(daemon, 30) as held:
            held.wait_open()
            daemon.reload()
            assert daemon.ctl("drain", "1", "--within", within).status == 0
            held.wait_broken(30)
            verdict = held.finish()

    assert reasons(verdict) == {RESTART: 30}


def test_hurry_oldest_asks_politely(polite: Settings) -> None:
    hurried = replace(polite, max_draining=1, drain='when_full = "end-oldest"\nclose_over = "1s"')
    with Daemon(hurried) as daemon:
        daemon.start()
        with holding(daemon, 30, returns=True) as held:
            held.wait_open()
            daemon.reload()
            assert held.bad == 0
            assert daemon.reload().generation == 3
            held.wait_broken(30)
            verdict = held.finish()

    assert reasons(verdict) == {RESTART: 30}
    assert verdict.returned == {3: 30}


def test_a_pause_stops_the_closing(polite: Settings) -> None:
    with Daemon(closing(polite, "0s", "60s")) as daemon:
        daemon.start()
        with holding(daemon, 60) as held:
            held.wait_open()
            daemon.reload()
            held.wait_broken(1)
            assert daemon.ctl("drain", "1", "--pause").status == 0
            daemon.reload()  # connections whose turn it was are closed by then
            before = held.bad
            daemon.reload()
            assert held.bad == before < 60
            assert daemon.ctl("drain", "1", "--within", "0s").status == 0
            held.wait_broken(60)
            assert reasons(held.finish()) == {RESTART: 60}


def test_who_is_busy_is_closed_last(polite: Settings) -> None:
    """At the end of the time: close_over, and kill_after for those."""
    patient = replace(closing(polite, "0s", "500ms"), kill_after="3s")
    with Daemon(patient) as daemon:
        daemon.start()
        with holding(daemon, 20) as idle, holding(daemon, 5, path="/busy", name="busy") as busy:
            idle.wait_open()
            busy.wait_open()
            daemon.reload()
            busy.wait_broken(5)
            ended, last = idle.finish(), busy.finish()

    assert reasons(ended) == {RESTART: 20}
    assert reasons(last) == {RESTART: 5}
    assert min(one.at for one in last.broken) - max(one.at for one in ended.broken) > 1.0


def test_a_stop_says_that_the_service_goes_away(polite: Settings) -> None:
    with Daemon(polite) as daemon:
        daemon.start()
        with holding(daemon, 30) as held:
            held.wait_open()
            assert daemon.stop() == 0
            verdict = held.finish()

    assert reasons(verdict) == {GOING_AWAY: 30}


def test_a_stop_of_an_idle_instance_waits_for_nothing(polite: Settings) -> None:
    with Daemon(replace(polite, stop='close_over = "60s"', stop_timeout="90s")) as daemon:
        daemon.start()
        wait_until(
            lambda: all(one["reported"] == 0 for one in workers(daemon)),
            what="the workers' own counts",
        )

        assert daemon.stop() == 0  # within the harness's limit, which is less


def workers(daemon: Daemon) -> list[dict[str, object]]:
    return [one for shown in daemon.status()["generations"] for one in shown["workers"]]


def test_status_has_their_own_counts(polite: Settings) -> None:
    with Daemon(polite) as daemon:
        daemon.start()
        with holding(daemon, 12) as held:
            held.wait_open()
            wait_until(
                lambda: sum(int(str(one["reported"])) for one in workers(daemon)) == 12,
                what="the workers' own counts",
            )
            assert all(one["library"] for one in workers(daemon))
            held.finish()


@pytest.mark.parametrize("unix", [True, False])
def test_in_shared_mode_old_workers_stop_accepting_without_a_signal(
    polite: Settings, unix: bool
) -> None:
    shared = replace(polite, unix=True) if unix else replace(polite, mode="shared")
    with Daemon(shared) as daemon:
        daemon.start()
        with holding(daemon, 30) as held, storm(daemon, rate=300.0) as arriving:
            held.wait_open()
            for _ in range(3):
                daemon.reload()
                arriving.wait_answered(150)
            verdict = judge(arriving.finish())
            assert held.finish().broken == ()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")

        assert (verdict.lost, verdict.reasons) == (0, {})
        assert "still listens" not in daemon.ctl("events").out


ASGI = """
import os
from wssupervisor.worker import Supervised

async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    await receive()
    await send({"type": "websocket.accept"})
    generation, pid = os.environ["WSSUPERVISOR_GENERATION"], os.getpid()
    await send({"type": "websocket.send", "text": f"generation {generation} process {pid}"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})

app = Supervised(app)
"""


def test_an_asgi_application_closes_politely_on_any_loop(polite: Settings) -> None:
    release = polite.releases.install("asgi")
    (release / "app.py").write_text(ASGI)
    loop = polite.environment["LOOP"]
    uvicorn = (sys.executable, "-m", "uvicorn", "app:app", "--fd", "3", "--loop", loop)
    with Daemon(replace(closing(polite, "0s", "1s"), command=uvicorn, workers=1)) as daemon:
        daemon.start()
        with holding(daemon, 20, returns=True) as held:
            held.wait_open()
            daemon.reload()
            held.wait_broken(20)
            verdict = held.finish()

    assert reasons(verdict) == {RESTART: 20}
    assert verdict.returned == {2: 20}


@pytest.mark.alone
def test_1000_clients_leave_as_a_slope_and_find_the_new_generation(simple: Settings) -> None:
    count, over = 1_000, 10
    with Daemon(closing(simple, "0s", f"{over}s")) as daemon:
        daemon.start()
        with holding(daemon, count, returns=True, interval=10.0) as held:
            held.wait_open()
            daemon.reload()
            held.wait_broken(count, 2.0 * over)
            verdict = held.finish()

    first = min(one.at for one in verdict.broken)
    seconds = Counter(int(one.at - first) for one in verdict.broken)
    print(f"closes in each second: {[seconds[second] for second in sorted(seconds)]}")
    assert reasons(verdict) == {RESTART: count}
    assert verdict.returned == {2: count}
    assert max(seconds.values()) <= 1.5 * count / over
