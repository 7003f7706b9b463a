"""Rounds of deeds under load, each with its account; the size of the daemon before and after."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.harness.census import workers_of
from tests.harness.daemon import Daemon
from tests.harness.fd_store import FdStore
from tests.harness.load import load
from tests.harness.settings import Settings
from tests.soak.account import Account, settle
from tests.soak.deeds import Mischief

DEEDS_A_ROUND = 15
ANSWERS_BETWEEN = 60
QUIET_WORKERS = 2
LOG_LINES = 250
MEMORY_GROWTH = 0.10
"""Allowed growth from the size after the first rounds, which fill the history and the logs."""
WARM_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Size:
    """Size of the daemon when idle. Memory in resident bytes."""

    descriptors: int
    memory: int
    processes: int

    def __str__(self) -> str:
        return (
            f"{self.descriptors} descriptors, {self.memory / 2**20:.1f} MB, {self.processes}"
            " worker processes"
        )


class Soak:
    def __init__(
        self, settings: Settings, seed: int, *, rate: float, held: int, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._seed = seed
        self._rate = rate
        self._held = held
        self._say = say

    def run(self, until: float) -> list[str]:
        """Run until then (CLOCK_MONOTONIC). Returns the faults."""
        faults: list[str] = []
        accounts: list[Account] = []
        with FdStore() as store, Daemon(self._settings, sockets=store) as daemon:
            daemon.start()
            mischief = Mischief(daemon, self._seed)
            warm: Size | None = None
            rounds: Counter[int] = Counter()
            while time.monotonic() < until or not accounts:
                try:
                    account = self._round(daemon, mischief, until)
                    size = self._quiet(daemon)
                except AssertionError as error:
                    self._say("\n".join(daemon.log().splitlines()[-LOG_LINES:]))
                    return [*faults, f"{type(error).__name__}: {error}"]
                accounts.append(account)
                self._say(f"round {len(accounts)}: {account}; {size}")
                if not account.clean:
                    self._say("\n".join(daemon.log().splitlines()[-LOG_LINES:]))
                    faults.append(f"round {len(accounts)}: {account}")
                pid = daemon.process.pid  # another one after each death
                rounds[pid] += 1
                if rounds[pid] == WARM_ROUNDS:
                    warm = size if warm is None or size.memory > warm.memory else warm
            faults += _grown(size if warm is None else warm, size)
            counts = sorted(mischief.counts.items())
            self._say("deeds: " + ", ".join(f"{count} x {name}" for name, count in counts))
            self._say(
                f"{sum(one.connections for one in accounts)} connections,"
                f" {sum(one.held for one in accounts)} held,"
                f" lost {sum(one.lost + one.broken for one in accounts)},"
                f" misrouted {sum(one.misrouted for one in accounts)};"
                f" {sum(one.owned for one in accounts)} lost by killed processes"
            )
            if daemon.stop() != 0 or daemon.leftovers() or store.names():
                faults.append(f"left after the stop: {daemon.leftovers()} {store.names()}")
        return faults

    def _round(self, daemon: Daemon, mischief: Mischief, until: float) -> Account:
        mischief.begin_round()
        with load(daemon, held=self._held, rate=self._rate) as clients:
            try:
                for _ in range(DEEDS_A_ROUND):
                    mischief.do_one()
                    clients.more(ANSWERS_BETWEEN)
                    if time.monotonic() > until:
                        break
            finally:
                mischief.wake()
            clients.more(ANSWERS_BETWEEN)
            notes, held = clients.finish()
        return settle(notes, held, mischief.deeds)

    def _quiet(self, daemon: Daemon) -> Size:
        """Measure with one generation of the original number of workers, and no connection."""
        daemon.ctl("scale", str(QUIET_WORKERS))
        daemon.wait_for(
            lambda status: (
                len(status["generations"]) == 1
                and [one["state"] for one in status["generations"][0]["workers"]]
                == ["ready"] * QUIET_WORKERS
            ),
            what="one generation with nothing left over",
        )
        pid = daemon.process.pid
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        memory = int(psutil.Process(pid).memory_info().rss)
        return Size(descriptors, memory, len(workers_of(self._settings.name)))


def _grown(before: Size, after: Size) -> list[str]:
    found = []
    if after.descriptors > before.descriptors:
        found.append(f"descriptors: {before.descriptors} -> {after.descriptors}")
    if after.processes != QUIET_WORKERS:
        found.append(f"{after.processes} worker processes instead of {QUIET_WORKERS}")
    if after.memory > before.memory * (1 + MEMORY_GROWTH):
        found.append(f"memory: {before.memory} -> {after.memory} bytes")
    return found
