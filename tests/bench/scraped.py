"""The cost of monitoring: the supervisor's CPU with and without a scrape a second, in turns."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.clients import Target, broken
from tests.bench.cost import Meter
from tests.bench.figures import LeftOut, Scraping
from tests.bench.files import lacking_for
from tests.bench.numbers import MILLI
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.bench.supervised import Supervised
from tests.harness.pages import get
from tests.harness.settings import HOST, free_port

WORKERS = 2
EVERY_SECONDS = 1.0
SETTLE_SECONDS = 2.0


def measure_scraping(plan: Plan, directory: Path, held: int) -> Scraping | LeftOut:
    lacking = lacking_for(held, WORKERS)
    if lacking is not None:
        return LeftOut(held, lacking)
    place = directory / "scraped"
    place.mkdir()
    port = free_port()
    http = f'[http]\naddress = "{HOST}:{port}"'
    one = Supervised(place / "supervised", f"bench-{directory.name}-m", WORKERS, more=http)
    with one.running(), Target(place, one.port, 1).held(held) as clients:
        say(f"{held} held: opening connections, for the scrapes")
        clients.wait_open()
        _scrape(port)  # the first scrape causes a census of new workers
        time.sleep(SETTLE_SECONDS)
        without, scraped, took = [], [], []
        for number in range(plan.scrape_windows):
            say(f"{held} held: with and without scrapes, {number + 1} of {plan.scrape_windows}")
            without.append(_cpu_percent(one.pid, plan.scrape_seconds, lambda: None))
            scraped.append(
                _cpu_percent(one.pid, plan.scrape_seconds, lambda: took.append(_scrape(port)))
            )
        lost = broken(clients.finish())
    costs = [with_it - alone for with_it, alone in zip(scraped, without, strict=True)]
    return Scraping(
        held=held,
        without_percent=statistics.mean(without),
        scraped_percent=statistics.mean(scraped),
        cost_percent=statistics.median(costs),
        scrape_ms=MILLI * statistics.median(took),
        broken=lost,
    )


def _cpu_percent(pid: int, seconds: float, each: Callable[[], object]) -> float:
    meter = Meter([pid])
    until = time.monotonic() + seconds
    while (now := time.monotonic()) < until:
        each()
        time.sleep(max(0.0, min(now + EVERY_SECONDS, until) - time.monotonic()))
    return meter.read().percent


def _scrape(port: int) -> float:
    begun = time.monotonic()
    answer = get(port, "/metrics")
    assert answer.status == 200, answer
    return time.monotonic() - begun
