"""Tries changes, some at a time, each in a process of its own with bounds of time and memory."""

import itertools
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

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


def bounded(plan: Plan) -> Plan:
    """The plan with a bound measured on tests without a change.

    Raises TestsFail with the output of tests that fail.
    """
    running = _Running(plan, None, "")
    running.process.join()
    if running.process.exitcode != 0:
        raise TestsFail(running.output())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return replace(
        plan, cpu_seconds=int(max(CPU_MIN, CPU_FACTOR * (used.ru_utime + used.ru_stime)))
    )


def tried(plan: Plan, changes: Sequence[Change], jobs: int) -> Iterator[Outcome]:
    """The outcome of each change, in the order in which they are known."""
    sources = {
        one: (plan.copy.joinpath(*trial.PACKAGE.split("."), f"{one}.py")).read_text()
        for one in {change.module for change in changes}
    }
    left = list(reversed(changes))
    running: list[_Running] = []
    while left or running:
        while left and len(running) < jobs:
            change = left.pop()
            running.append(_Running(plan, change, change.apply(sources[change.module])))
        wait([one.process.sentinel for one in running], timeout=1.0)
        for one in list(running):
            if (outcome := one.outcome()) is not None:
                running.remove(one)
                yield outcome


class _Running:
    """A trial under way."""

    def __init__(self, plan: Plan, change: Change | None, source: str) -> None:
        self.plan, self.change = plan, change
        self.began = time.monotonic()
        self.log = plan.copy / f"log-{next(_numbers)}"
        self.process: BaseProcess = _context.Process(target=self._run, args=(source,))
        self.process.start()

    def _run(self, source: str) -> None:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        module = None if self.change is None else self.change.module
        status = trial.run(self.plan, module, source)
        os._exit(status)

    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

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
        by = next(
            (one for one in self.output().splitlines() if one.startswith(("FAILED", "ERROR"))), ""
        )
        self.log.unlink(missing_ok=True)
        if status == 0:
            return Outcome(self.change, Verdict.SURVIVED, "", seconds)
        verdict = Verdict.NOTICED if status > 0 else Verdict.ENDLESS  # which a signal ends
        return Outcome(self.change, verdict, by, seconds)
