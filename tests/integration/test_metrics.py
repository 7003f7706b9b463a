"""What monitoring reads while everything happens: always whole, never backwards, right at last."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import send
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.pages import get, status_of
from tests.harness.settings import HOST, Settings, free_port

HELD = 60
RATE = 200.0
ROUNDS = 6
SCRAPES = 30
EVERY = 0.05
BEFORE_THE_NEXT_CENSUS = 10.0  # which comes after 30 s while no worker drains

Series = tuple[str, tuple[tuple[str, str], ...]]


class Scraped:
    """One scrape: values by series, and those that must not go back."""

    def __init__(self, text: str) -> None:
        self.values: dict[Series, float] = {}
        self.growing: set[Series] = set()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                assert key not in self.values, f"exposed twice: {key}"
                self.values[key] = sample.value
                if family.type in ("counter", "histogram"):
                    self.growing.add(key)

    def of(self, name: str, /, **labels: str) -> float:
        return self.values[f"wssupervisor_{name}", tuple(sorted(labels.items()))]

    def total(self, name: str) -> float:
        """Over all labels."""
        return sum(
            value for (own, _), value in self.values.items() if own == f"wssupervisor_{name}"
        )


def scrape(port: int) -> Scraped:
    answer = get(port, "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scraped(answer.body)


def asked(daemon: Daemon) -> Scraped:
    answer = daemon.ctl("metrics")
    assert answer.status == 0, answer
    return Scraped(answer.out)


@contextmanager
def scraping(port: int) -> Iterator[list[Scraped]]:
    """All the time, by another thread; what went wrong there is raised at the end."""
    found: list[Scraped] = []
    errors: list[Exception] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(EVERY):
            try:
                found.append(scrape(port))
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(HANG_SECONDS)
    assert errors == []


def assert_only_grown(before: Scraped, after: Scraped) -> None:
    back = [key for key in before.growing if after.values[key] < before.values[key]]
    assert back == []


def with_http(settings: Settings, port: int) -> Settings:
    return replace(settings, more=f'[http]\naddress = "{HOST}:{port}"')


@pytest.mark.storm
def test_in_a_storm_of_reloads_each_scrape_is_whole_and_the_sums_are_right(
    settings: Settings,
) -> None:
    port = free_port()
    settings.releases.make("bad", "fails_at_once")
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        with load(daemon, held=HELD, rate=RATE) as clients, scraping(port) as found:
            verdicts: Counter[str] = Counter()
            for number in range(ROUNDS):
                settings.releases.switch("bad" if number % 3 == 1 else "one")
                status = daemon.ctl("reload").status
                verdicts["failed" if status else "succeeded"] += 1
                assert status == (1 if number % 3 == 1 else 0)
            daemon.roll_back()
            wait_until(lambda: len(found) > SCRAPES, what="scrapes")
            last = scrape(port)
            clients.assert_unnoticed()

        for before, after in pairwise(found):
            assert_only_grown(before, after)
        assert last.of("reloads_total", attempt="reload", verdict="succeeded") == 4
        assert last.of("reloads_total", attempt="reload", verdict="failed") == 2
        assert last.of("reloads_total", attempt="rollback", verdict="succeeded") == 1
        assert last.total("reload_duration_seconds_count") == ROUNDS + 1
        assert last.of("drains_begun_total") == verdicts["succeeded"] + 1

        wait_until(
            lambda: scrape(port).of("generations", state="draining") == 0,
            what="the end of all drains",
        )
        end = scrape(port)
        assert end.total("drains_ended_total") == end.of("drains_begun_total")
        assert end.of("drain_duration_seconds_count") == end.of(
            "drains_ended_total", outcome="retired"
        )
        assert end.total("worker_exits_total") + end.total("workers") == end.of(
            "workers_spawned_total"
        )
        assert (end.of("connections_forced_total"), end.of("connections_lost_total")) == (0, 0)
        assert {key[0] for key in found[0].values} <= {key[0] for key in end.values}


def test_counts_are_those_of_the_clients_in_each_generation(settings: Settings) -> None:
    port = free_port()
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        with daemon.held(settings.releases.root, HELD) as held:
            held.wait_open()
            daemon.reload()
            wait_until(
                lambda: by_state(scrape(port)) == (0, HELD),
                what="all to be counted in the old generation",
            )
            found = scrape(port)
            assert found.of("workers", state="draining") == 2
            assert 0 < found.of("draining_oldest_seconds") < HANG_SECONDS
            assert found.of("listener_slots", listener="ws") == 22
            assert found.of("listener_free_slots", listener="ws") == 22 - 4 - 1
            daemon.ctl("drain", "1", "--within", "0s")
            wait_until(
                lambda: scrape(port).of("connections_forced_total") == HELD,
                what="all to be closed",
            )
            assert scrape(port).of("draining_oldest_seconds") == 0
            held.finish()


def test_a_scrape_sees_who_came_since_the_last_census_and_so_does_who_counts_the_lost(
    settings: Settings,
) -> None:
    port = free_port()
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        root = settings.releases.root
        with daemon.held(root, HELD) as some, daemon.held(root, HELD) as others:
            some.wait_open()
            others.wait_open()
            wait_until(lambda: by_state(scrape(port)) == (2 * HELD, 0), what="a census")
            others.finish()
            wait_until(
                lambda: by_state(scrape(port)) == (HELD, 0),
                within=BEFORE_THE_NEXT_CENSUS,
                what="the others to have gone",
            )
            pids = daemon.active_pids()
            for pid in pids:
                send(pid, signal.SIGKILL)
            daemon.wait_noticed(*pids)
            daemon.wait_ready(2)
            some.finish()
        assert scrape(port).of("connections_lost_total") == HELD


def by_state(found: Scraped) -> tuple[float, float]:
    active, draining = (found.of("connections", state=one) for one in ("active", "draining"))
    return active, draining


def test_a_worker_that_crashes_counts_with_whom_it_took_along(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        with daemon.held(settings.releases.root, HELD) as held:
            held.wait_open()
            daemon.wait_for(
                lambda status: status["generations"][0]["connections"] == HELD,
                what="all to be counted",
            )
            pids = daemon.active_pids()
            for pid in pids:
                send(pid, signal.SIGKILL)
            daemon.wait_noticed(*pids)
            daemon.wait_ready(2)
            held.finish()
        found = asked(daemon)

        assert found.of("worker_exits_total", cause="sigkill") == 2
        assert found.of("connections_lost_total") == HELD
        assert found.of("workers_spawned_total") == 4


def test_counters_survive_upgrades_and_the_death_of_the_supervisor(settings: Settings) -> None:
    port = free_port()
    with Daemon(with_http(settings, port)) as daemon:
        daemon.start()
        daemon.reload()
        settings.releases.install("bad", "fails_at_once")
        assert daemon.ctl("reload").status == 1
        before = scrape(port)
        assert daemon.ctl("upgrade").status == 0
        between = scrape(port)
        daemon.die()
        daemon.start()
        after = scrape(port)

        assert_only_grown(before, between)
        of_process = {("wssupervisor_supervisor_cpu_seconds_total", ())}
        after.values |= {key: float("inf") for key in of_process}  # another process since
        assert_only_grown(without_lag(between), after)
        for found, upgrades, recoveries in ((before, 0, 0), (between, 1, 0), (after, 1, 1)):
            assert found.of("reloads_total", attempt="reload", verdict="succeeded") == 1
            assert found.of("reloads_total", attempt="reload", verdict="failed") == 1
            assert found.of("last_reload_success") == 0
            assert found.of("supervisor_upgrades_total") == upgrades
            assert found.of("supervisor_recoveries_total") == recoveries
        assert after.of("start_time_seconds") == pytest.approx(
            before.of("start_time_seconds"), abs=1
        )
        assert after.of("loop_lag_seconds_count") > 0


def without_lag(found: Scraped) -> Scraped:
    """What was seen since the last step was written down goes with the supervisor."""
    found.growing = {key for key in found.growing if "loop_lag" not in key[0]}
    return found


def test_it_is_told_already_while_the_instance_starts(settings: Settings) -> None:
    port = free_port()
    with Daemon(with_http(replace(settings, stable="3s"), port)) as daemon:
        daemon.launch()
        wait_until(lambda: status_of(port, "/livez") == 200, what="life")
        found = scrape(port)

        assert (found.of("ready"), found.of("state", state="starting")) == (0, 1)
        wait_until(lambda: scrape(port).of("ready") == 1, what="readiness")


def test_scripts_get_the_same_as_json(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        text = asked(daemon)
        found = json.loads(daemon.ctl("metrics", "--json").out)
        told = {
            (one["name"], tuple(sorted(one["labels"].items())))
            for family in found
            for one in family["samples"]
        }

        assert told == text.values.keys()
        types: Mapping[str, str] = {one["name"]: one["type"] for one in found}
        assert types["wssupervisor_reloads_total"] == "counter"


def test_the_supervisors_own_figures_are_those_of_its_process(settings: Settings) -> None:
    import psutil

    with Daemon(settings) as daemon:
        daemon.start()
        found = asked(daemon)
        process = psutil.Process(daemon.pid())

        rss = found.of("supervisor_resident_memory_bytes")
        assert rss == pytest.approx(process.memory_info().rss, rel=0.2)
        used = sum(process.cpu_times()[:2])
        assert 0 < found.of("supervisor_cpu_seconds_total") <= used + 2 / os.sysconf("SC_CLK_TCK")
