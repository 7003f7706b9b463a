"""A short run of ./dev fuzz, the same inputs each time in CI; and that it finds what is wrong."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random, SystemRandom
from typing import Any

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.fuzz import run as runner
from tests.fuzz.run import MEMORY_BYTES, run
from tests.fuzz.stage import Stage
from tests.fuzz.target import Target, Wrong
from tests.fuzz.targets import TARGETS
from tests.harness.daemon import ROOT
from wssupervisor.config.tables import Table
from wssupervisor.runtime.workers import notify_socket, readiness
from wssupervisor.runtime.workers.notify_socket import Notification
from wssupervisor.worker import protocol
from wssupervisor.worker.handoff import deflate, exchange
from wssupervisor.worker.handoff.frames import FrameTracker

INPUTS = {
    "control": 800,
    "http": 500,
    "notify": 600,
    "channel": 400,
    "handoff": 200,
    "frames": 300,
    "window": 250,
    "worker": 12,
    "output": 50,
    "config": 200,
    "environment": 350,
    "state": 200,
    "history": 50,
    "slots": 300,
    "probe": 20,
    "wssctl": 30,
}
"""For each target: about 0.35 s of processor time. `./dev fuzz` takes minutes."""
ENOUGH_SECONDS = 200.0
SEED = 16 if "CI" in os.environ else SystemRandom().randrange(10**6)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_others_write_does_harm(name: str, stage: Stage) -> None:
    with TARGETS[name](stage) as target:
        report = run(target, SEED, ENOUGH_SECONDS, most=INPUTS[name])

    assert not report.failures, str(report)
    assert report.inputs == INPUTS[name]


# -- that it can fail -------------------------------------------------------------------------


class Number(Target[int]):
    """A reader of numbers that does what the test wants of it with every tenth."""

    name = "number"
    cpu_seconds = 0.3
    fails = "whatever the test says"

    def __init__(self, harm: str) -> None:
        self._harm = harm
        self.given: list[int] = []
        self._kept: list[bytes] = []

    def make(self, random: Random) -> int:
        return random.randrange(1000)

    def judge(self, given: int) -> None:
        self.given.append(given)
        if given % 10:
            return
        match self._harm:
            case "raises":
                raise KeyError(given)
            case "leaves":
                raise SystemExit(3)
            case "is wrong":
                raise Wrong("it is wrong")
            case "hangs":
                time.sleep(60)
            case "works long":
                until = time.process_time() + self.cpu_seconds + 0.1
                while time.process_time() < until:
                    pass
            case "takes memory":
                self._kept = [b"x" * (MEMORY_BYTES + (1 << 20))]
                self._kept.clear()


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        ("raises", "KeyError: "),
        ("leaves", "SystemExit: 3"),
        ("is wrong", "it is wrong"),
        ("hangs", "it had not ended after 1 s"),
        ("works long", "s of CPU time"),
        ("takes memory", "MB of memory"),
    ],
)
def test_each_kind_of_harm_is_found_and_can_be_repeated(
    harm: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if harm == "hangs":  # at the first that hangs; a reader that is only slow is taken for one
        monkeypatch.setattr(runner, "HANG_SECONDS", 1.0)
    monkeypatch.setattr(runner, "FAILURES_MAX", 1)
    report = run(Number(harm), 7, HANG_SECONDS)
    again = run(Number(harm), 7, HANG_SECONDS, only=report.failures[0].number)

    assert what in report.failures[0].what
    assert [one.given for one in again.failures] == [report.failures[0].given]
    assert f"./dev fuzz --seed 7 --only number --input {report.failures[0].number}" in str(report)


def test_it_is_run_with_a_seed_and_the_name_of_a_target() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "0.5", "--seed", "7", "--only", "channel"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done
    assert done.stdout.startswith("fuzz: 0.5 seconds, --seed 7\nchannel ")
    assert done.stdout.endswith(" inputs, 0 failures\n")


def test_a_seed_gives_the_same_inputs_each_time() -> None:
    first, second, other = Number(""), Number(""), Number("")
    run(first, 7, HANG_SECONDS, most=100)
    run(second, 7, HANG_SECONDS, most=100)
    run(other, 8, HANG_SECONDS, most=100)

    assert first.given == second.given
    assert first.given != other.given


def test_the_limit_of_a_test_goes_on_after_each_input() -> None:
    signal.setitimer(signal.ITIMER_REAL, before := 1000.0)
    run(Number(""), 7, HANG_SECONDS, most=3)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)

    assert before - 100 < left < before


def _believes_all(_: bytes) -> Notification:
    return Notification(ready=True)


def _counts_anything(_: bytes) -> protocol.Counts:
    return protocol.Counts(open=-1, busy=2)


def _takes_anything(self: Table, key: str, _: Any, default: Any, **__: Any) -> Any:
    self.known.append(key)
    return default


PLANTED: dict[str, tuple[tuple[Any, str, Any], ...]] = {
    "notify": ((notify_socket, "parse", _believes_all),),
    "channel": ((protocol, "from_worker", _counts_anything),),
    "config": ((Table, "take", _takes_anything),),
    "probe": ((readiness, "judged", lambda _: None),),
    "frames": ((FrameTracker, "_complete", lambda _, __: None),),
    "window": ((deflate, "_check_between_messages", lambda _: None),),
    "handoff": ((exchange, "_close_all", lambda _: None),),
}
"""A fault in one reader each, of those that run in this process."""


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_found(name: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for where, attribute, fault in PLANTED[name]:
        monkeypatch.setattr(where, attribute, fault)
    monkeypatch.setattr(runner, "FAILURES_MAX", 1)
    with TARGETS[name](stage) as target:
        report = run(target, 7, HANG_SECONDS)

    assert report.failures
