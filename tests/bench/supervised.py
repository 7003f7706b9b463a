"""The worker under wssupervisor, and the supervisor's share of the time of a reload."""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from examples.load.verdict import Cutover
from tests.harness.daemon import Daemon
from tests.harness.releases import Releases
from tests.harness.settings import Settings
from tests.harness.starts import start_times
from wssupervisor.control.client import Client

STABLE_SECONDS = 0.2
RELOAD_WITHIN = "60s"


@dataclass(frozen=True, slots=True)
class Reloaded:
    """One reload. Instants are monotonic."""

    begun_at: float
    """When the request was sent."""
    cutover: Cutover
    own_seconds: float
    """Time from the request to the cutover, without `stable` and the start of the workers."""


class Supervised:
    """A daemon with workers that report when they started and when they could serve."""

    def __init__(self, directory: Path, name: str, workers: int, *, more: str = "") -> None:
        """`more`: further tables for the configuration."""
        directory.mkdir()
        releases = Releases(directory)
        releases.install("bench")
        self._starts = directory / "starts"
        self._starts.mkdir()
        settings = Settings(name, releases)
        self._daemon = Daemon(
            replace(
                settings,
                workers=workers,
                stable=f"{round(STABLE_SECONDS * 1000)}ms",
                environment={"STARTS": str(self._starts)},
                listeners=("ws",),
                more=more,
            )
        )
        self._launched_at = 0.0

    @property
    def port(self) -> int:
        return self._daemon.settings.ws_port

    @property
    def pid(self) -> int:
        """The supervisor's own."""
        return self._daemon.process.pid

    @contextmanager
    def running(self) -> Iterator["Supervised"]:
        with self._daemon:
            self._launched_at = time.time()
            self._daemon.start()
            yield self

    def status_seconds(self) -> float:
        """Return the time of one `wssctl status`, including the start of the program."""
        begun = time.monotonic()
        answer = self._daemon.ctl("status")
        assert answer.status == 0, answer
        return time.monotonic() - begun

    def start_seconds(self) -> tuple[float, float]:
        """Return the time from launch to serving, and without `stable` and the start of workers."""
        answer = self._daemon.ctl("events", "--json")
        notes = [json.loads(line) for line in answer.out.splitlines()]
        [started] = [note for note in notes if note["kind"] == "started"]
        took = datetime.fromisoformat(started["at"]).timestamp() - self._launched_at
        return took, took - STABLE_SECONDS - self._slowest_start(self._started())

    def reload(self) -> Reloaded:
        """Reload over the control socket, without the start of wssctl."""
        before = self._started()
        begun_at = time.monotonic()
        client = Client(str(self._daemon.control))
        verdict = client.call("reload", {"timeout": RELOAD_WITHIN, "wait": True})
        cutover = Cutover.from_verdict(verdict)
        start = self._slowest_start(self._started() - before)
        return Reloaded(begun_at, cutover, cutover.at - begun_at - STABLE_SECONDS - start)

    def _started(self) -> set[int]:
        """Return the pids of all workers that were ever able to serve."""
        return {int(path.name) for path in self._starts.iterdir()}

    def _slowest_start(self, pids: Iterable[int]) -> float:
        times = [start_times(self._starts, pid) for pid in pids]
        return max(serving - begun for begun, serving in times)
