"""Runs one target for a while, within bounds of time and memory, and reports what failed.

Input number n depends on the seed, the target and n alone, so that one input can be repeated.
"""

import re
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from examples.load.waiting import HANG_SECONDS
from tests.fuzz.target import Target, Wrong

MEMORY_BYTES = 64 << 20
"""By which one input may raise this process's largest size."""
CHECK_EVERY = 50
FAILURES_MAX = 5
SHOWN_CHARS = 1000
_PEAK = re.compile(r"^VmHWM:\s+([0-9]+) kB", re.MULTILINE)


class Hung(BaseException):
    """Raised by the alarm; no reader must catch it."""


@dataclass(frozen=True, slots=True)
class Failure:
    number: int
    what: str
    given: str

    def __str__(self) -> str:
        return f"input {self.number}: {self.what}\n    given: {self.given}"


@dataclass(slots=True)
class Report:
    name: str
    seed: int
    inputs: int = 0
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        rate = self.inputs / self.seconds if self.seconds else 0.0
        what = f"{len(self.failures)} failures" if self.failures else "nothing failed"
        lines = [f"{self.name:12} {self.inputs:8} inputs {rate:8.0f}/s  {what}"]
        lines += [str(one) for one in self.failures]
        if self.failures:
            first = self.failures[0].number
            lines.append(
                f"    repeat: ./dev fuzz --seed {self.seed} --only {self.name} --input {first}"
            )
        return "\n".join(lines)


def input_of(target: Target[Any], seed: int, number: int) -> Any:
    return target.make(Random(f"{seed} {target.name} {number}"))


def run(
    target: Target[Any],
    seed: int,
    seconds: float,
    *,
    only: int | None = None,
    most: int | None = None,
) -> Report:
    """At least one input, and until `seconds` are over; `only`: that input alone.

    The target is open. After FAILURES_MAX failures of different kinds it ends.
    """
    report = Report(target.name, seed)
    began = time.monotonic()
    kinds: set[str] = set()
    for number in count() if only is None else iter([only]):
        given = input_of(target, seed, number)
        what = _tried(target, given)
        if what is None and (number % CHECK_EVERY == CHECK_EVERY - 1 or only is not None):
            what = _judged(target.check)
        report.inputs += 1
        report.seconds = time.monotonic() - began
        if what is not None and (kind := re.sub("[0-9]+", "N", what[:80])) not in kinds:
            kinds.add(kind)
            report.failures.append(Failure(number, what, shown(given)))
        if len(kinds) == FAILURES_MAX or report.seconds >= seconds or report.inputs == most:
            break
    if (what := _judged(target.check)) is not None:
        report.failures.append(Failure(report.inputs - 1, f"at the end: {what}", "all before"))
    return report


def shown(given: object) -> str:
    text = ascii(given)
    if len(text) <= SHOWN_CHARS:
        return text
    return f"{text[: SHOWN_CHARS // 2]} ... {text[-SHOWN_CHARS // 2 :]} ({len(text)} characters)"


def _tried(target: Target[Any], given: object) -> str | None:
    """What is wrong with what the reader did."""
    reset_peak()
    before, began = peak_bytes(), time.process_time()
    what = _judged(target.judge, given)
    took, grown = time.process_time() - began, peak_bytes() - before
    if what is None and took > target.cpu_seconds:
        what = f"it took {took:.1f} s of CPU time"
    if what is None and grown > MEMORY_BYTES:
        what = f"it took {grown >> 20} MB of memory"
    return what


def _judged(judge: Any, *given: object) -> str | None:
    try:
        with limited(HANG_SECONDS):
            judge(*given)
    except Wrong as wrong:
        return str(wrong)
    except Hung:
        return f"it had not ended after {HANG_SECONDS:g} s"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any is what we look for
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error}"[:300]
        return f"{text} (in {where.name}, {Path(where.filename).name}:{where.lineno})"
    return None


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hung after the limit. Then restore the alarm of the test's own limit."""

    def hang(_number: int, _frame: FrameType | None) -> None:
        raise Hung

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, hang)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - began)))


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes() -> int:
    """The largest size of this process since `reset_peak`."""
    found = _PEAK.search(Path("/proc/self/status").read_text(encoding="ascii"))
    assert found is not None
    return int(found[1]) << 10
