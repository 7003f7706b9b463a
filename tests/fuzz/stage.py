"""A real daemon for the targets that need one, and its real answers, to be damaged."""

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from os import getpid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.fuzz.target import Wrong
from tests.harness.daemon import Daemon
from tests.harness.releases import Releases
from tests.harness.settings import HOST, Settings, free_port
from wssupervisor.control.client import Client

HOST_NAME = "metrics.example.org"
GROWTH_BYTES = 48 << 20
CPU_SECONDS = 1.0
"""CPU time of the daemon that one input may cost. It serves no other client meanwhile."""
LOG_BYTES = 8 << 20
"""What the daemon may have logged at the end."""
STUMBLES = ("Traceback (most recent call last)", "request failed", "page failed", "internal-error")
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Condition:
    """Of a daemon that serves: what no input may change."""

    generation: int
    workers: tuple[int, ...]
    descriptors: int


class Stage:
    """Starts its daemon when it is first needed, and ends it with the `with`."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.http_port = free_port()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @cached_property
    def daemon(self) -> Daemon:
        """It has served two generations and refused a third, and does nothing by itself."""
        root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="wss-fuzz-")))
        releases = Releases(root)
        releases.install("one")
        settings = Settings(f"fuzz-{getpid()}-{next(_numbers)}", releases, workers=1)
        http = f'[http]\naddress = "{HOST}:{self.http_port}"\nhosts = ["{HOST_NAME}"]'
        daemon = Daemon(replace(settings, more=http, listeners=("ws",)))
        self._stack.enter_context(daemon)
        daemon.start()
        releases.install("two")
        daemon.reload()
        releases.install("bad", "exit_zero")
        assert daemon.ctl("reload").status == 1
        releases.switch("two")
        return daemon

    @cached_property
    def documents(self) -> dict[str, Any]:
        """What the daemon answers, by method."""
        status = self._document("status")
        return {
            "status": status,
            "why": self._document("why", str(status["generations"][0]["number"])),
            "history": {"reloads": self._lines("history")},
        }

    @cached_property
    def notes(self) -> list[dict[str, Any]]:
        """What it has recorded."""
        return self._lines("events")

    @cached_property
    def state(self) -> bytes:
        """What it has kept for a supervisor after its death."""
        paths = self.daemon.control.parent.glob("control.sock.state.*")
        return max((path.read_bytes() for path in paths), key=lambda data: data[:40])

    def _document(self, *arguments: str) -> dict[str, Any]:
        return self.daemon.ctl(*arguments, "--json").document

    def _lines(self, verb: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.daemon.ctl(verb, "--json").out.splitlines()]

    def condition(self) -> Condition:
        document = Client(str(self.daemon.control)).call("status")
        assert document["state"] == "serving"
        (active,) = (one for one in document["generations"] if one["state"] == "active")
        workers = tuple(sorted(one["pid"] for one in active["workers"]))
        descriptors = psutil.Process(self.daemon.pid()).num_fds()
        return Condition(active["number"], workers, descriptors)

    def memory(self) -> int:
        return int(psutil.Process(self.daemon.pid()).memory_info().rss)


class Watched:
    """The stage's daemon between two moments: nothing may have changed, grown or stumbled."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self._before = stage.condition()
        self._memory = stage.memory()
        self._process = psutil.Process(stage.daemon.pid())
        self._spent = self._cpu()

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def judge_cpu(self) -> None:
        """After each input. Raises Wrong."""
        before, self._spent = self._spent, self._cpu()
        if (took := self._spent - before) > CPU_SECONDS:
            raise Wrong(f"the daemon took {took:.1f} s of CPU time")

    def check(self) -> None:
        """Raises Wrong."""
        daemon = self.stage.daemon
        if daemon.process.poll() is not None:
            raise Wrong(f"the daemon exited with {daemon.process.returncode}: {self._log_end()}")
        after = self.stage.condition()
        if (after.generation, after.workers) != (self._before.generation, self._before.workers):
            raise Wrong(f"{self._before} became {after}")
        if after.descriptors > self._before.descriptors + 5:
            raise Wrong(f"{self._before.descriptors} descriptors became {after.descriptors}")
        if self.stage.memory() > self._memory + GROWTH_BYTES:
            raise Wrong(f"{self._memory} bytes of memory became {self.stage.memory()}")
        log = daemon.log()
        if len(log) > LOG_BYTES:
            raise Wrong(f"the daemon logged {len(log)} characters")
        stumbled = next((one for one in STUMBLES if one in log), None)
        if stumbled is not None:
            at = log.index(stumbled)
            raise Wrong(f"internal error in the daemon: {log[max(0, at - 300) : at + 1500]}")

    def _log_end(self) -> str:
        return self.stage.daemon.log()[-1500:]
