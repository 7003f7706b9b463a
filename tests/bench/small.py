"""The short measurements: the balance over workers, and the start of the daemon."""

import statistics
from collections import Counter
from pathlib import Path

from tests.bench.bare import Bare
from tests.bench.clients import Target, by_worker
from tests.bench.figures import Balance, Start
from tests.bench.numbers import MILLI
from tests.bench.overhead import COMMAND
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.bench.supervised import Supervised

BALANCED_WORKERS = 4
STARTED_WORKERS = 2


def measure_balance(plan: Plan, directory: Path) -> Balance:
    place = directory / "balance"
    place.mkdir()
    supervised = Supervised(place / "supervised", f"bench-{directory.name}-b", BALANCED_WORKERS)
    with Bare(COMMAND, BALANCED_WORKERS, place / "bare") as bare, supervised.running():
        bare.wait_ready()
        found: dict[int, list[float]] = {bare.port: [], supervised.port: []}
        for number in range(plan.balance_rounds):
            say(f"balance over {BALANCED_WORKERS} workers, {number + 1} of {plan.balance_rounds}")
            for index, port in enumerate(found, start=1):
                with Target(place, port, index).held(plan.balance_count) as held:
                    held.wait_open()
                    found[port].append(_busiest_over_mean(by_worker(held.finish())))
        return Balance(
            plan.balance_count,
            BALANCED_WORKERS,
            supervised=statistics.median(found[supervised.port]),
            bare=statistics.median(found[bare.port]),
        )


def _busiest_over_mean(clients: Counter[int]) -> float:
    return max(clients.values()) * BALANCED_WORKERS / clients.total()


def measure_start(plan: Plan, directory: Path) -> Start:
    place = directory / "starts"
    place.mkdir()
    times = []
    for number in range(plan.starts):
        say(f"start of the daemon, {number + 1} of {plan.starts}")
        one = Supervised(place / str(number), f"bench-{directory.name}-s{number}", STARTED_WORKERS)
        with one.running():
            times.append(one.start_seconds())
    return Start(
        start_ms=MILLI * statistics.median(whole for whole, _ in times),
        own_share_ms=MILLI * statistics.median(own for _, own in times),
    )
