"""The cost of supervision and reloads: the worker bare and supervised, with held connections."""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from examples.load.verdict import misrouted
from tests.bench.bare import Bare
from tests.bench.clients import Target, broken
from tests.bench.cost import Meter, pss_mb
from tests.bench.figures import LeftOut, SizeFigures, Watched
from tests.bench.files import lacking_for
from tests.bench.measure import Around, Server, around, echoes
from tests.bench.numbers import MILLI, median, ratio
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.bench.rounds import Rounds, p99_ratio
from tests.bench.supervised import Reloaded, Supervised
from tests.harness.releases import WORKERS as PROGRAMS

WORKERS = 2
COMMAND = [sys.executable, str(PROGRAMS / "serving.py"), "well"]
SETTLE_SECONDS = 1.0

Result = TypeVar("Result")


def measure(plan: Plan, directory: Path, held: int) -> SizeFigures | LeftOut:
    """Both sides at the same time, with `held` WebSockets each, measured in turns."""
    lacking = lacking_for(held, WORKERS)
    if lacking is not None:
        return LeftOut(held, lacking)
    place = directory / f"held-{held}"
    place.mkdir()
    supervised = Supervised(place / "supervised", f"bench-{directory.name}-{held}", WORKERS)
    with Bare(COMMAND, WORKERS, place / "bare") as bare, supervised.running():
        bare.wait_ready()
        return _Overhead(plan, place, held, bare, supervised).run()


class _Overhead:
    def __init__(
        self, plan: Plan, place: Path, held: int, bare: Bare, supervised: Supervised
    ) -> None:
        self._plan = plan
        self._place = place
        self._held = held
        self._bare = bare
        self._supervised = supervised
        self._to_bare = Target(place, bare.port, 1)
        self._to_supervised = Target(place, supervised.port, 2)
        self._of_bare = Rounds()
        self._of_supervised = Rounds()
        self._reloads: list[Reloaded] = []

    def run(self) -> SizeFigures:
        self._say("opening connections, bare and supervised")
        with (
            self._to_bare.held(self._held) as bare_held,
            self._to_supervised.held(self._held) as supervised_held,
        ):
            bare_held.wait_open()
            supervised_held.wait_open()
            time.sleep(SETTLE_SECONDS)
            self._say("supervisor idle")
            idle = self._watch()
            self._echo_rounds()
            status_ms = self._status_ms()
            self._connect_rounds()
            self._say("supervisor while the first generation drains")
            drain = self._watch()
            self._say("closing connections")
            lost = broken(bare_held.finish()), broken(supervised_held.finish())
        return self._figures(lost, idle, drain, status_ms)

    def _say(self, text: str) -> None:
        say(f"{self._held} held: {text}")

    def _watch(self) -> Watched:
        """Measure while only the held clients are active."""
        meter = Meter([self._supervised.pid])
        time.sleep(self._plan.watch_seconds)
        spent = meter.read()
        return Watched(pss_mb([self._supervised.pid]), spent.percent)

    def _echo_rounds(self) -> None:
        """Measure on new connections each time, because their spread over workers is random."""
        plan = self._plan
        servers = [
            Server(self._to_bare, tuple(self._bare.pids)),
            Server(self._to_supervised, (self._supervised.pid,)),
        ]
        for number in range(plan.echo_openings):
            self._say(f"echoes, {number + 1} of {plan.echo_openings}")
            bare, supervised = echoes(servers, plan.echo_seconds, plan.echo_pairs)
            self._of_bare.echoes += bare
            self._of_supervised.echoes += supervised

    def _status_ms(self) -> float:
        calls = range(self._plan.status_calls)
        return MILLI * statistics.median(self._supervised.status_seconds() for _ in calls)

    def _connect_rounds(self) -> None:
        for number in range(self._plan.connect_pairs):
            self._say(f"new connections and reload {number + 1} of {self._plan.connect_pairs}")
            self._bare_connects(number)
            self._supervised_connects()

    def _bare_connects(self, number: int) -> None:
        """Measure what the start of as many workers costs new connections, without any reload."""
        beside: list[Bare] = []

        def start() -> None:
            beside.append(Bare(COMMAND, WORKERS, self._place / f"beside-{number}"))

        try:
            found, _ = self._around(self._to_bare, start)
        finally:
            for one in beside:
                one.close()
        self._of_bare.connects.append(found)

    def _supervised_connects(self) -> None:
        found, reloaded = self._around(self._to_supervised, self._supervised.reload)
        self._of_supervised.connects.append(found)
        self._reloads.append(reloaded)

    def _around(self, target: Target, event: Callable[[], Result]) -> tuple[Around, Result]:
        plan = self._plan
        return around(target, plan.rate, plan.steady_seconds, plan.window_seconds, event)

    def _figures(
        self, lost: tuple[int, int], idle: Watched, drain: Watched, status_ms: float
    ) -> SizeFigures:
        bare, supervised = self._of_bare, self._of_supervised
        rounds = list(zip(supervised.connects, self._reloads, strict=True))
        return SizeFigures(
            held=self._held,
            bare=bare.side(lost[0]),
            supervised=supervised.side(lost[1]),
            throughput_ratio=ratio(
                [one.per_second for one in supervised.echoes],
                [one.per_second for one in bare.echoes],
            ),
            cpu_ratio=ratio(
                [one.cpu_us for one in supervised.echoes], [one.cpu_us for one in bare.echoes]
            ),
            p99_ratio=supervised.p99_ratio(),
            p99_ratio_of_bare=bare.p99_ratio(),
            p99_ratio_from_cutover=p99_ratio(
                ([note for note in one.after if note.start >= reload.cutover.at], one.before)
                for one, reload in rounds
            ),
            reload_ms=median(
                MILLI * (reload.cutover.at - reload.begun_at) for reload in self._reloads
            ),
            own_share_ms=median(MILLI * reload.own_seconds for reload in self._reloads),
            misrouted=sum(
                len(misrouted([*one.before, *one.after], [reload.cutover]))
                for one, reload in rounds
            ),
            idle=idle,
            drain=drain,
            status_ms=status_ms,
        )
