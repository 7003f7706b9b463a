"""The same load on the same server, bare and supervised, while the server stalls at times.

Each client is new, and waits for its first answer. All sides run at the same time: they mostly
sleep, and a slow machine slows all of them.
"""

import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from examples.load.waiting import wait_until
from tests.bench.bare import Bare
from tests.bench.cost import tree
from tests.bench.figures import Stalled
from tests.bench.numbers import percentile
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.bench.rivals.tools import VENV, find
from tests.harness.daemon import Daemon
from tests.harness.releases import WORKERS, Releases
from tests.harness.settings import HOST, Settings

CLIENT_EVERY = 0.7
PAUSE, EVERY = 3.0, 7.0
SLOW, SLOW_EVERY, SLOW_AT_ONCE = 6.0, 12.0, 3
GUNICORN_WORKERS = 3
ANSWERED_WITHIN = 60.0
QUICK, SLOWLY = b"GET /quick HTTP/1.0\r\n\r\n", b"GET /slow HTTP/1.0\r\n\r\n"
LOOK_SECONDS = 0.5
START_WITHIN = 30.0
PROBE_WITHIN = 5.0
END_WITHIN = 10.0
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    command: tuple[str, ...]
    workers: int
    environment: Mapping[str, str]
    slow: bool = False
    """Besides quick requests, `SLOW_AT_ONCE` slow ones arrive every `SLOW_EVERY` seconds."""


@dataclass(slots=True)
class Load:
    """Clients of one side. They stay until the end, like WebSockets, except with gunicorn."""

    port: int
    pace: float
    slow: bool
    """Besides quick requests, `SLOW_AT_ONCE` slow ones arrive every `SLOW_EVERY` seconds."""
    waited: list[float] = field(default_factory=list)
    failed: int = 0
    _threads: list[threading.Thread] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float) -> None:
        begun = time.monotonic()
        next_slow = begun
        while (now := time.monotonic()) < begun + seconds:
            if self.slow and now >= next_slow:
                next_slow += SLOW_EVERY * self.pace
                for _ in range(SLOW_AT_ONCE):
                    self._start(SLOWLY, counts=False)
            self._start(QUICK, counts=True)
            time.sleep(CLIENT_EVERY * self.pace)

    def finish(self) -> None:
        """Wait for the clients that still wait, then close all."""
        until = time.monotonic() + ANSWERED_WITHIN
        while len(self.waited) + self.failed < self.asked and time.monotonic() < until:
            time.sleep(LOOK_SECONDS / 10)
        self._over.set()
        for one in self._threads:
            one.join(END_WITHIN)

    @property
    def asked(self) -> int:
        return sum(one.name == "counts" for one in self._threads)

    def _start(self, request: bytes, *, counts: bool) -> None:
        name = "counts" if counts else "slow"
        thread = threading.Thread(target=self._ask, args=(request, counts), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _ask(self, request: bytes, counts: bool) -> None:
        begun = time.monotonic()
        try:
            with socket.create_connection((HOST, self.port), ANSWERED_WITHIN) as client:
                client.sendall(request)
                answered = bool(client.recv(1000))
                if counts and answered:
                    self.waited.append(time.monotonic() - begun)
                elif counts:
                    self.failed += 1
                if not self.slow:
                    self._over.wait()
        except OSError:
            self.failed += counts


def scenarios(plan: Plan) -> list[Scenario]:
    pace = plan.stall_pace
    pausing = (sys.executable, str(WORKERS / "pausing.py"))
    pauses = {"PAUSE": str(PAUSE * pace), "EVERY": str(EVERY * pace)}
    found = [
        Scenario("echo, 3 s of 7 s, 1 worker", pausing, 1, pauses),
        Scenario("echo, 3 s of 7 s, 4 workers", pausing, 4, pauses),
    ]
    if find("gunicorn"):
        found.append(_gunicorn(pace))
    return found


def _gunicorn(pace: float) -> Scenario:
    """It takes its socket from `$LISTEN_FDS`."""
    number = str(GUNICORN_WORKERS)
    options = ("-w", number, "--log-level", "warning", "--chdir", str(HERE))
    return Scenario(
        f"gunicorn sync -w {number}, three 6 s requests every 12 s",
        (str(VENV / "bin" / "python"), "-m", "gunicorn", *options, "slow:app"),
        1,
        {"SLOW": str(SLOW * pace)},
        slow=True,
    )


def needs() -> list[str]:
    return [] if find("gunicorn") else ["pip gunicorn"]


@contextmanager
def _bare(scenario: Scenario, place: Path) -> Iterator[tuple[int, Sequence[int]]]:
    with Bare(scenario.command, scenario.workers, place, scenario.environment) as bare:
        yield bare.port, bare.pids


@contextmanager
def _supervised(scenario: Scenario, place: Path) -> Iterator[tuple[int, Sequence[int]]]:
    place.mkdir()
    releases = Releases(place)
    releases.install("bench")
    settings = Settings(f"bench-{place.name}", releases)
    own = replace(
        settings,
        command=scenario.command,
        workers=scenario.workers,
        environment=scenario.environment,
        listeners=("ws",),
        keep="1s",
        accept_stall=None,
    )
    with Daemon(own) as daemon:
        daemon.start()
        yield daemon.settings.ws_port, [daemon.process.pid]


SIDES = {"bare": _bare, "supervised": _supervised}


def measure(plan: Plan, directory: Path) -> list[Stalled]:
    """Run all scenarios on both sides at once."""
    with ExitStack() as stack:
        running = []
        for number, scenario in enumerate(scenarios(plan)):
            for side, start in SIDES.items():
                place = directory / f"stall-{number}-{side}"
                port, roots = stack.enter_context(start(scenario, place))
                wait_until(partial(_answers, port), within=START_WITHIN, what=scenario.name)
                load = Load(port, plan.stall_pace, scenario.slow)
                running.append((scenario, side, roots, load))
        say(f"{len(running)} servers that stall at times, for {plan.stall_seconds:g} s")
        threads = [
            threading.Thread(target=load.run, args=(plan.stall_seconds,))
            for _, _, _, load in running
        ]
        for thread in threads:
            thread.start()
        most = [0] * len(running)
        while any(thread.is_alive() for thread in threads):
            time.sleep(LOOK_SECONDS)
            now = [_processes(side, roots) for _, side, roots, _ in running]
            most = [max(pair) for pair in zip(most, now, strict=True)]
        found = []
        for at, (scenario, side, roots, load) in enumerate(running):
            processes = _processes(side, roots)
            load.finish()
            found.append(_figures(scenario, side, load, processes, max(most[at], processes)))
        return found


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), PROBE_WITHIN) as client:
            client.sendall(QUICK)
            return bool(client.recv(1000))
    except OSError:
        return False


def _processes(side: str, roots: Sequence[int]) -> int:
    """Return the number of processes of the server, without the supervisor and its relay."""
    return len(tree(roots)) - (2 if side == "supervised" else 0)


def _figures(scenario: Scenario, side: str, load: Load, processes: int, most: int) -> Stalled:
    return Stalled(
        scenario=scenario.name,
        side=side,
        clients=len(load.waited) + load.failed,
        failed=load.failed,
        mean_seconds=statistics.fmean(load.waited) if load.waited else None,
        p50_seconds=percentile(load.waited, 50),
        p90_seconds=percentile(load.waited, 90),
        p99_seconds=percentile(load.waited, 99),
        worst_seconds=max(load.waited, default=None),
        processes=processes,
        most_processes=most,
    )
