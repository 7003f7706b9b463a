"""A worker that writes a lot: the delay of the loop, and the integrity of its lines."""

import math
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from examples.load.waiting import wait_until
from tests.bench.figures import Output
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.harness.daemon import Daemon
from tests.harness.releases import Releases
from tests.harness.settings import Settings
from wssupervisor.fleet.counters import LAG_BOUNDS

WIDTH = 100
BURSTS_A_SECOND = 20
HELD = 5
READ_BYTES = 1 << 20
END_WITHIN = 60.0
SHARE = 0.99
APPLICATION = Path(__file__).parents[1] / "harness/workers/serving.py"

_LINE = re.compile(rb"1\.0\.1 \| (\d{7}) ")
_SKIPPED = re.compile(rb"output skipped.* bytes=(\d+) .*worker=1\.0\.1")
_DROPPED = re.compile(rb"log lines dropped.* lines=(\d+)")
_BUCKET = re.compile(r'loop_lag_seconds_bucket\{.*le="([^"]+)"\} (\d+)')


class Reader:
    """Reads the log from a pipe and checks its lines. Can pause."""

    def __init__(self, descriptor: int) -> None:
        self.numbers = 0
        self.out_of_order = 0
        self.skipped = 0
        self.dropped = 0
        self.ended = False
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._descriptor = descriptor
        self._last = -1
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        rest = b""
        while data := os.read(self._descriptor, READ_BYTES):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line)
            self.goes_on.wait()

    def _take(self, line: bytes) -> None:
        if found := _LINE.search(line):
            number = int(found[1])
            self.out_of_order += number <= self._last
            self._last = number
            self.numbers += 1
        elif found := _SKIPPED.search(line):
            self.skipped += int(found[1])
        elif found := _DROPPED.search(line):
            self.dropped += int(found[1])
        self.ended = self.ended or b"1.0.1 | that was all" in line


def measure_output(plan: Plan, directory: Path) -> tuple[Output, Output]:
    """Measure with a log that is read all the time, and with one unread for half of it."""
    return _measure(plan, directory / "read", 0.0), _measure(
        plan, directory / "stalled", plan.output_seconds / 2
    )


def _measure(plan: Plan, place: Path, stalled: float) -> Output:
    lines = int(plan.output_mb * 1e6 / WIDTH)
    with _daemon(plan, place, lines) as (daemon, reader):
        say(f"output: {plan.output_mb:g} MB in {plan.output_seconds:g} s, log stalled {stalled:g}")
        before = _lag(daemon)
        begun = time.monotonic()
        with daemon.held(place, HELD) as held:
            held.wait_open()
            time.sleep(plan.output_seconds / 4)
            if stalled:
                reader.goes_on.clear()
            daemon.settings.releases.install("quiet", "well")
            asked = time.monotonic()
            daemon.reload()
            reload_ms = 1000 * (time.monotonic() - asked)
            time.sleep(stalled)
            reader.goes_on.set()
            wait_until(
                lambda: reader.ended,
                within=plan.output_seconds + END_WITHIN,
                what="the last line",
                every=0.1,
            )
            seconds = time.monotonic() - begun
            after = _lag(daemon)
            broken = len(held.finish().broken)
        assert daemon.stop() == 0
    counts = [now - then for now, then in zip(after, before, strict=True)]
    return Output(
        megabytes=plan.output_mb,
        seconds=seconds,
        stalled_seconds=stalled,
        lines=lines,
        told=reader.numbers,
        skipped=reader.skipped / WIDTH,
        dropped=reader.dropped,
        unaccounted=lines - reader.numbers - reader.skipped / WIDTH,
        out_of_order=reader.out_of_order,
        lag_p99_ms=_quantile(counts),
        lag_samples=counts[-1],
        reload_ms=reload_ms,
        broken=broken,
    )


@contextmanager
def _daemon(plan: Plan, place: Path, lines: int) -> Iterator[tuple[Daemon, Reader]]:
    place.mkdir()
    releases = Releases(place)
    releases.install("chatty", "chatty")
    bursts = plan.output_seconds * BURSTS_A_SECOND
    environment = {
        "LINES": str(lines),
        "WIDTH": str(WIDTH),
        "BURST": str(max(1, round(lines / bursts))),
        "PAUSE": str(1 / BURSTS_A_SECOND),
        "APPLICATION": str(APPLICATION),
    }
    name = f"bench-{os.getpid()}-{place.name}"
    settings = replace(Settings(name, releases, workers=1), environment=environment)
    reading, writing = os.pipe()
    reader = Reader(reading)
    with Daemon(settings, log_to=writing) as daemon:
        daemon.start()
        os.close(writing)
        yield daemon, reader


def _lag(daemon: Daemon) -> list[int]:
    """Return the cumulative counts of loop delays for each bound; the last is the total."""
    text = daemon.ctl("metrics").out
    found = {float(bound): int(count) for bound, count in _BUCKET.findall(text)}
    return [found[bound] for bound in (*LAG_BOUNDS, math.inf)]


def _quantile(counts: list[int]) -> float:
    """Return the lowest bound that covers at least SHARE of the samples, in ms."""
    for bound, count in zip(LAG_BOUNDS, counts, strict=False):
        if count >= SHARE * counts[-1]:
            return 1000 * bound
    return math.inf
