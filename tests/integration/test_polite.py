"""Workers that use the library: informed, closed politely, and noticed when they hang."""

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from examples.load.clients import HeldClient, HeldVerdict, StormClient
from examples.load.verdict import judge
from examples.load.waiting import wait_until
from tests.harness.census import send
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings

RESTART = "closed by the server: 03f4"
GOING_AWAY = "closed by the server: 03e9"


@pytest.fixture(params=["asyncio", "uvloop"])
def polite(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """An instance whose workers use the library and say themselves when they are ready."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return on(settings, request.param)


@pytest.fixture
def simple(settings: Settings) -> Settings:
    """The same for what does not depend on the worker's loop."""
    return on(settings, "asyncio")


def on(settings: Settings, loop: str) -> Settings:
    settings.releases.install("polite", "polite")
    return replace(
        settings,
        listeners=("ws",),
        ready_by="notify",
        stop='close_over = "1s"',
        environment={"LOOP": loop},
    )


def closing(settings: Settings, timeout: str, over: str) -> Settings:
    return replace(settings, drain=f'timeout = "{timeout}"\nclose_over = "{over}"')


@contextmanager
def storm(daemon: Daemon, rate: float = 100.0) -> Iterator[StormClient]:
    settings = daemon.settings
    where = settings.target("ws")
    with StormClient(settings.releases.root, *where, websocket=True, rate=rate) as found:
        found.wait_answered(20)
        yield found


def holding(daemon: Daemon, count: int, **options: object) -> HeldClient:
    return daemon.held(daemon.settings.releases.root, count, **options)


def reasons(verdict: HeldVerdict) -> Counter[str]:
    return Counter(one.reason[: len(RESTART)] for one in verdict.broken)


def wait_log(daemon: Daemon, text: str, count: int = 1) -> None:
    wait_until(lambda: daemon.log().count(text) >= count, what=f"{text!r} in the log")


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


# -- those that lie, flood, or hang --------------------------------------------------------------


RAVING = """
import json, os, signal, socket, sys, time
say = socket.socket(fileno=int(os.environ["WSSUPERVISOR_CHANNEL"])).send
listening = socket.socket(fileno=3)
listening.setblocking(True)
say(json.dumps({{"type": "hello", "version": 1, "capabilities": ["close", "fly"]}}).encode())
say(json.dumps({{"type": "ready"}}).encode())
say(json.dumps({{"type": "news", "of": "a later version"}}).encode())
{rave}
while True:
    listening.accept()[0].close()
"""


def rave(settings: Settings, what: str) -> None:
    release = settings.releases.install("raving")
    (release / "app.py").write_text(RAVING.format(rave=what))


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ('say(b"garbage")', "not JSON"),
        ('say(b"x" * 20_000)', "a message of more than 16384 bytes"),
        ('say(json.dumps({"type": "counts", "open": -1}).encode())', "found 0 busy of -1 open"),
        ('say(json.dumps({"type": "hello", "version": "two"}).encode())', "hello: version is not"),
    ],
)
def test_who_breaks_the_protocol_is_treated_as_one_without_the_library(
    simple: Settings, what: str, told: str
) -> None:
    rave(simple, what)
    with Daemon(replace(simple, keep="0s")) as daemon:
        daemon.start()
        wait_log(daemon, told, count=2)
        simple.releases.switch("polite")
        daemon.reload()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")


def test_who_floods_hurts_only_himself(simple: Settings) -> None:
    rave(
        simple,
        "import threading\n"
        'count = json.dumps({"type": "counts", "open": 3}).encode()\n'
        "def flood():\n"
        "    for _ in range(3_000_000):\n"
        "        try:\n"
        "            say(count)\n"
        "        except OSError:\n"
        "            return\n"
        "threading.Thread(target=flood, daemon=True).start()",
    )
    with Daemon(replace(simple, workers=1)) as daemon:
        daemon.start()
        simple.releases.switch("polite")
        daemon.reload()
        with holding(daemon, 20) as held:
            held.wait_open()
            daemon.reload()
            assert held.finish().broken == ()


def test_a_worker_that_never_reads_is_ended_at_the_limit(simple: Settings) -> None:
    """It said that it closes connections when asked, and does not."""
    rave(simple, "")
    with Daemon(closing(simple, "0s", "200ms")) as daemon:
        daemon.start()
        simple.releases.switch("polite")
        daemon.reload()
        daemon.wait_for(lambda status: len(status["generations"]) == 1, what="retirement")


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
