"""Tries changes, some at a time, each in a process of its own with bounds of time and memory."""

import itertools
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.mutate import trial
from tests.mutate.changes import Change
from tests.mutate.trial import Plan

ROOT = Path(__file__).parents[2]
FLEET = ROOT.joinpath(*trial.PACKAGE.split("."))
COPIED = ("wssupervisor", "tests", "docs", "pyproject.toml")
CPU_MIN = 20.0
"""Seconds of processor time that a trial gets at least."""
CPU_FACTOR = 3.0
"""A trial that takes so much longer than one without a change is taken for endless."""
WALL_FACTOR = 20.0
"""On the clock a trial may take so much longer than its processor time: others may need it, too."""

_numbers = itertools.count()
_context = multiprocessing.get_context("fork")


class TestsFail(Exception):
    """The tests fail without any change, so that a failure proves nothing."""


class Verdict(Enum):
    NOTICED = "noticed"
    ENDLESS = "noticed, as endless"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Outcome:
    change: Change
    verdict: Verdict
    by: str
    """The test that failed; empty if none did."""
    seconds: float


@contextmanager
def copied_tree() -> Iterator[Path]:
    """A copy of what the tests need: edits of the tree meanwhile change no outcome."""
    with tempfile.TemporaryDirectory(prefix="wss-mutate-") as place:
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, Path(place, name), ignore=ignore)
            else:
                shutil.copy(ROOT / name, place)
        yield Path(place)


def try_all(
    plan: Plan, changes: Sequence[Change], jobs: int, report: Callable[[Outcome], None]
) -> None:
    """Reports the outcome of each change as soon as it is known.

    Raises TestsFail, with a test that fails without any change.
    """
    failed: list[str] = []

    def body(session: pytest.Session) -> None:
        first = _Running(plan, session, None)
        first.process.join()
        if first.process.exitcode != 0:
            failed.append(first.failed_test())
            return
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = max(CPU_MIN, CPU_FACTOR * (used.ru_utime + used.ru_stime))
        bounded = replace(plan, cpu_seconds=int(seconds))
        for outcome in _tried(bounded, session, changes, jobs):
            report(outcome)

    status = trial.collected(plan, body)
    if failed or status not in trial.ENDED:
        raise TestsFail("".join(failed) or f"pytest ended with {status}")


def _tried(
    plan: Plan, session: pytest.Session, changes: Sequence[Change], jobs: int
) -> Iterator[Outcome]:
    left = list(reversed(changes))
    running: list[_Running] = []
    while left or running:
        while left and len(running) < jobs:
            running.append(_Running(plan, session, left.pop()))
        wait([one.process.sentinel for one in running], timeout=1.0)
        for one in list(running):
            if (outcome := one.outcome()) is not None:
                running.remove(one)
                yield outcome


class _Running:
    """A trial under way."""

    def __init__(self, plan: Plan, session: pytest.Session, change: Change | None) -> None:
        self.plan, self.change = plan, change
        self.began = time.monotonic()
        self.failed = plan.copy / f"failed-{next(_numbers)}"
        self.process: BaseProcess = _context.Process(
            target=trial.run, args=(plan, session, change, self.failed)
        )
        self.process.start()

    def failed_test(self) -> str:
        return self.failed.read_text() if self.failed.exists() else ""

    def outcome(self) -> Outcome | None:
        """None while it runs. A trial that takes too long is killed."""
        assert self.change is not None
        seconds = time.monotonic() - self.began
        if self.process.exitcode is None:
            if seconds < self.plan.cpu_seconds * WALL_FACTOR:
                return None
            self.process.kill()
        self.process.join()
        status = self.process.exitcode
        assert status is not None
        by = self.failed_test()
        self.failed.unlink(missing_ok=True)
        if status == 0:
            return Outcome(self.change, Verdict.SURVIVED, "", seconds)
        verdict = Verdict.NOTICED if status > 0 else Verdict.ENDLESS  # which a signal ends
        return Outcome(self.change, verdict, by, seconds)
