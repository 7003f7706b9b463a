"""The same worker without a supervisor: N processes, each on its own SO_REUSEPORT socket."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from examples.load.waiting import wait_until
from tests.harness.daemon import environment
from tests.harness.settings import HOST, free_port
from tests.harness.sockets import HeldSockets

READY_WITHIN = 30.0
END_WITHIN = 10.0


class Bare:
    """Workers of one command, started like systemd services. They leave a file in `$STARTS`."""

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        starts: Path,
        extra: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self._starts = starts
        self._sockets: list[HeldSockets] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        starts.mkdir(parents=True, exist_ok=True)
        told = {"WSSUPERVISOR_GENERATION": "1", "STARTS": str(starts), **(extra or {})}
        for _ in range(workers):
            sockets = HeldSockets({"ws": (HOST, self.port)}, 1)
            self._sockets.append(sockets)
            self._processes.append(_start(sockets, list(command), told, starts / "output"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def wait_ready(self) -> Self:
        wait_until(
            lambda: all((self._starts / str(pid)).exists() for pid in self.pids),
            within=READY_WITHIN,
            what="bare workers",
        )
        return self

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_WITHIN)
        for sockets in self._sockets:
            sockets.__exit__(None, None, None)
        self._processes, self._sockets = [], []


def _start(
    sockets: HeldSockets, command: list[str], told: Mapping[str, str], output: Path
) -> subprocess.Popen[bytes]:
    wrapped, passed = sockets.wrap(command)
    try:
        with output.open("ab") as out:
            # Not in their own sessions: the scheduler divides CPU by session (autogroup), and
            # the supervised workers are in our session too.
            return subprocess.Popen(
                wrapped,
                env={**environment(), **told},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=passed,
            )
    finally:
        for fd in passed:
            os.close(fd)
