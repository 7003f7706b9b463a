"""Slow-loris clients against servers, bare and supervised: their processes and memory.

Each side has its own clients. All sides run at the same time: they mostly sleep.
"""

import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from examples.load.waiting import wait_until
from tests.bench.bare import Bare
from tests.bench.cost import pss_mb, tree
from tests.bench.figures import Besieged
from tests.bench.numbers import percentile
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.bench.rivals.tools import VENV, find
from tests.bench.slowloris.crowd import Crowd, answers
from tests.harness.daemon import Daemon
from tests.harness.releases import Releases
from tests.harness.settings import Settings

LOOK_SECONDS = 1.0
START_WITHIN = 60.0
END_WITHIN = 10.0
BETWEEN_BYTES = 5.0
OWN_PROCESSES = 2
"""The supervisor and its relay of output, which do not belong to the server."""
HERE = Path(__file__).parent
PYTHON = str(VENV / "bin" / "python")


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    command: tuple[str, ...]


@dataclass(slots=True)
class Side:
    """`supervisor`: pids that do not belong to the server."""

    scenario: Scenario
    name: str
    roots: Sequence[int]
    crowd: Crowd
    first: tuple[int, float]
    most_processes: int
    most_mb: float

    def look(self) -> tuple[int, float]:
        pids = tree(self.roots)
        if self.name == "supervised":
            pids = frozenset(pids - _own(self.roots))
        return len(pids), pss_mb(pids)

    def watch(self) -> None:
        processes, megabytes = self.look()
        self.most_processes = max(self.most_processes, processes)
        self.most_mb = max(self.most_mb, megabytes)


def _own(roots: Sequence[int]) -> frozenset[int]:
    """Return the supervisor, and its children that run only its own interpreter."""
    relays = {
        pid
        for pid in tree(roots)
        if b"relay_program.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    }
    return frozenset({*roots, *relays})


def scenarios() -> list[Scenario]:
    found = [
        Scenario(
            "uvicorn",
            (sys.executable, "-m", "uvicorn", "--log-level", "warning", "app:asgi", "--fd", "3"),
        )
    ]
    if find("gunicorn"):
        gunicorn = (PYTHON, "-m", "gunicorn", "--log-level", "error")
        found += [
            Scenario("gunicorn sync", (*gunicorn, "app:wsgi")),
            Scenario("gunicorn gthread", (*gunicorn, "-k", "gthread", "app:wsgi")),
            Scenario(
                "gunicorn gthread, at most 100 connections",
                (*gunicorn, "-k", "gthread", "--worker-connections", "100", "app:wsgi"),
            ),
        ]
    if node := shutil.which("node"):
        found.append(Scenario("Node http", (node, "server.cjs")))
    return found


def needs() -> list[str]:
    return [] if find("gunicorn") else ["pip gunicorn"]


@contextmanager
def _bare(scenario: Scenario, place: Path) -> Iterator[tuple[int, Sequence[int]]]:
    paths = {"PYTHONPATH": str(HERE)}
    command = [str(HERE / word) if word.endswith(".cjs") else word for word in scenario.command]
    with Bare(command, 1, place, paths) as bare:
        yield bare.port, bare.pids


@contextmanager
def _supervised(scenario: Scenario, place: Path) -> Iterator[tuple[int, Sequence[int]]]:
    place.mkdir()
    releases = Releases(place)
    release = releases.install("bench")
    for path in HERE.iterdir():
        if path.is_file():
            shutil.copy(path, release)
    settings = Settings(f"slowloris-{place.name}", releases)
    own = replace(
        settings,
        command=scenario.command,
        workers=1,
        listeners=("ws",),
        environment={"PYTHONPATH": str(release)},
        accept_stall=None,  # as configured by itself
    )
    with Daemon(own) as daemon:
        daemon.start()
        yield daemon.settings.ws_port, [daemon.process.pid]


SIDES = {"bare": _bare, "supervised": _supervised}


def measure(plan: Plan, directory: Path) -> list[Besieged]:
    """Run all servers on both sides at once."""
    with ExitStack() as stack:
        sides = []
        for number, scenario in enumerate(scenarios()):
            for name, start in SIDES.items():
                place = directory / f"slowloris-{number}-{name}"
                port, roots = stack.enter_context(start(scenario, place))
                wait_until(partial(answers, port), within=START_WITHIN, what=scenario.name)
                crowd = Crowd(port, plan.slow_clients, plan.slow_every, BETWEEN_BYTES)
                sides.append(Side(scenario, name, roots, crowd, (0, 0.0), 0, 0.0))
        for side in sides:
            side.first = side.look()
        seconds = plan.slow_seconds
        say(f"{len(sides)} servers with up to {plan.slow_clients} slow clients, for {seconds:g} s")
        threads = [threading.Thread(target=one.crowd.run, args=(seconds,)) for one in sides]
        try:
            for thread in threads:
                thread.start()
            last = begun = time.monotonic()
            while any(thread.is_alive() for thread in threads):
                time.sleep(LOOK_SECONDS)
                for side in sides:
                    side.watch()
                if (now := time.monotonic()) - last >= seconds / 10:
                    last = now
                    counts = ", ".join(f"{one.look()[0]}" for one in sides)
                    say(f"after {now - begun:.0f} s: processes {counts}")
        finally:
            for side in sides:
                side.crowd.stop()
            for thread in threads:
                thread.join(END_WITHIN)
        return [_figures(side) for side in sides]


def _figures(side: Side) -> Besieged:
    processes, megabytes = side.look()
    crowd = side.crowd
    return Besieged(
        server=side.scenario.name,
        side=side.name,
        slow_held=crowd.most_held,
        slow_opened=crowd.opened,
        asked=crowd.asked,
        answered=len(crowd.waited),
        p50_seconds=percentile(crowd.waited, 50),
        mean_seconds=statistics.fmean(crowd.waited) if crowd.waited else None,
        processes_before=side.first[0],
        most_processes=max(side.most_processes, processes),
        processes=processes,
        memory_before_mb=side.first[1],
        most_memory_mb=max(side.first[1], side.most_mb, megabytes),
        memory_mb=megabytes,
    )
