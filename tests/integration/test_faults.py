"""The rule of a step (runtime/effects.py): whatever system call fails in it, serving continues.

`./dev faults` takes longer: each call fails with each error, once for each kind of event.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.load.verdict import Cutover
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings

ERRORS = ("ENOSPC", "EMFILE", "EIO", "EAGAIN")
ALL = "WSSUPERVISOR_FAULTS" in os.environ
AT_ONCE = 1 if ALL else 4
"""This many calls fail during one deed, each in a step of its own."""
MOST = 2000 if ALL else 100
"""Deeds until there is no call left that has not failed; there are fewer."""
FEWEST = 60
ANSWERS = 300


class Faults:
    """What the daemon does when it runs under faults.py."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._armed = directory / "armed"
        self.deeds = 0

    def deeds_under_faults(self) -> Iterator[None]:
        """Each is to be done when `arm` was called, until every call has failed."""
        before = -1
        while before < len(self.found("fails")):
            before = len(self.found("fails"))
            assert self.deeds < MOST, self.found("fails")[-3:]
            self.deeds += 1
            yield
            self._armed.unlink()

    def arm(self) -> None:
        """From now on further calls are about to fail."""
        order = {"number": self.deeds, "count": AT_ONCE, "errors": ERRORS, "each": ALL}
        new = self._armed.with_suffix(".new")
        new.write_text(json.dumps(order))
        new.replace(self._armed)

    def found(self, kind: str) -> list[Mapping[str, Any]]:
        report = self.directory / "faults"
        lines = report.read_text().splitlines() if report.exists() else []
        return [found for line in lines if kind in (found := json.loads(line))]


def reloads(daemon: Daemon, faults: Faults) -> int:
    """Until each call of a reload has failed, with clients around it; how many reloads failed."""
    failed: list[str] = []
    cutovers: list[Cutover] = []
    with load(daemon) as clients:
        for _ in faults.deeds_under_faults():
            faults.arm()
            answer = daemon.ctl("reload", "--json")
            assert daemon.process.poll() is None, faults.found("fails")[-AT_ONCE:]
            if answer.status == 0:
                cutovers.append(Cutover.from_verdict(answer.document))
            else:
                failed.append(answer.err)
        cutovers.append(daemon.reload())
        clients.more(ANSWERS)
        clients.assert_unnoticed(cutovers)
    print("".join(failed))
    return len(failed)


def deaths(daemon: Daemon, faults: Faults) -> None:
    """The same of the death of a worker, which is replaced whatever fails."""
    for _ in faults.deeds_under_faults():
        daemon.reload()  # so that no earlier death makes the pause longer
        (worker,) = daemon.workers(daemon.active())
        faults.arm()
        daemon.end_worker(worker.pid)
        daemon.wait_ready(1)


def others(daemon: Daemon, faults: Faults) -> None:
    """And of what else operators do."""
    for _ in faults.deeds_under_faults():
        faults.arm()
        for verb in (["scale", "2"], ["leave"], ["join"], ["scale", "1"], ["rollback"]):
            daemon.ctl(*verb)
            assert daemon.process.poll() is None, faults.found("fails")[-AT_ONCE:]


@pytest.mark.slow("81 system calls fail in 39 reloads and deaths, a second each")
@pytest.mark.timeout(0 if ALL else 300)
def test_each_system_call_of_a_step_fails_once_and_nothing_is_lost(
    settings: Settings, tmp_path: Path
) -> None:
    faults = Faults(tmp_path)
    with Daemon(replace(settings, workers=1, keep="5s"), faults=tmp_path) as daemon:
        failed = reloads(daemon.start(), faults)
        deaths(daemon, faults)
        if ALL:
            others(daemon, faults)
        daemon.reload()
        assert daemon.stop() == 0
    for one in faults.found("fails"):
        print(one["fails"], one["with_"], one["event"], *reversed(one["at"]))
    calls = len(faults.found("fails"))
    print(f"{calls} system calls failed in {faults.deeds} deeds; {failed} reloads failed; lost: 0")

    assert faults.found("raised") == []
    assert faults.found("blocks") == []
    assert calls >= FEWEST
