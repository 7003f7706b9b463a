"""Start client processes, read their live numbers, end them, and read their reports.

A client process ends when its standard input closes, so none outlives the process that started it.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from examples.load.counters import read_counters
from examples.load.echo import EchoOptions
from examples.load.held import HeldOptions
from examples.load.storm import Note, StormOptions
from examples.load.waiting import HANG_SECONDS, wait_until

ROOT = Path(__file__).resolve().parents[2]
FINISH_WITHIN = 60.0
KILL_WITHIN = 10.0


class ClientFailed(Exception):
    """A client process failed, so its measurements are unknown."""


class ClientProcess:
    """One client process. Leaving the `with` block ends it in any state."""

    def __init__(
        self,
        module: str,
        directory: Path,
        make: Callable[[str, str], Any],
        within: Sequence[str] = (),
    ) -> None:
        """`within`: a command that runs its arguments elsewhere, such as in another network."""
        place = Path(tempfile.mkdtemp(prefix=f"{module}-", dir=directory))
        self.report = place / "report.json"
        self.counters = place / "counters"
        self._errors = place / "errors"
        options = json.dumps(asdict(make(str(self.report), str(self.counters))))
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", f"examples.load.{module}", options],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # Ctrl-C goes only to the process that started it
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(KILL_WITHIN)

    def detach(self) -> None:
        """Leave it running without us. Its options must make it end by itself."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.returncode = 0  # keeps Popen from warning that the process is still running

    def alive(self) -> bool:
        return self.process.poll() is None

    def end(self, within: float = FINISH_WITHIN) -> None:
        """Make it finish, and wait for its report."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise ClientFailed(f"the client did not finish within {within:g} s") from None
        if status != 0:
            raise ClientFailed(f"the client failed:\n{self._errors.read_text()}")


class StormClient(ClientProcess):
    """A stream of new connections."""

    def __init__(
        self, directory: Path, host: str, port: int, within: Sequence[str] = (), **options: Any
    ) -> None:
        def make(report: str, counters: str) -> StormOptions:
            return StormOptions(host, port, report, counters, **options)

        super().__init__("storm", directory, make, within)

    @property
    def begun(self) -> int:
        return read_counters(self.counters)[0]

    @property
    def answered(self) -> int:
        return read_counters(self.counters)[1]

    @property
    def lost(self) -> int:
        return read_counters(self.counters)[2]

    def wait_answered(self, count: int, within: float = HANG_SECONDS) -> None:
        """Wait until `count` more connections than now have been answered."""
        goal = self.answered + count
        wait_until(
            lambda: self.answered >= goal or not self.alive(),
            within=within,
            what=f"{count} more answers to the storm",
        )

    def finish(self) -> list[Note]:
        self.end()
        with self.report.open() as lines:
            return [Note(*json.loads(line)) for line in lines]


@dataclass(frozen=True, slots=True)
class Broken:
    pid: int
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class HeldVerdict:
    count: int
    echoes: int
    wrong: int
    slowest: float
    broken: tuple[Broken, ...]
    by_worker: dict[tuple[int, int], int]  # (generation, pid) -> clients
    returned: dict[int, int]  # generation -> clients that came back to it

    def __str__(self) -> str:
        return (
            f"{self.count} held, {self.echoes} echoes, slowest {self.slowest * 1000:.0f} ms, "
            f"broken {len(self.broken)}, wrong {self.wrong}"
        )


class HeldClient(ClientProcess):
    """Many WebSockets that stay open and talk."""

    def __init__(
        self,
        directory: Path,
        host: str,
        port: int,
        count: int,
        within: Sequence[str] = (),
        **options: Any,
    ) -> None:
        def make(report: str, counters: str) -> HeldOptions:
            return HeldOptions(host, port, report, counters, count, **options)

        super().__init__("held", directory, make, within)
        self._count = count

    @property
    def opened(self) -> int:
        return read_counters(self.counters)[1]

    @property
    def bad(self) -> int:
        return read_counters(self.counters)[2]

    @property
    def echoes(self) -> int:
        return read_counters(self.counters)[3]

    def wait_broken(self, count: int, within: float = HANG_SECONDS) -> None:
        """Wait until `count` connections have ended, expected or not."""
        wait_until(
            lambda: self.bad >= count or not self.alive(),
            within=within,
            what=f"{count} broken clients",
        )

    def wait_open(self, within: float = HANG_SECONDS) -> Self:
        wait_until(
            lambda: self.opened + self.bad >= self._count or not self.alive(),
            within=within,
            what=f"{self._count} held clients",
        )
        return self

    def finish(self) -> HeldVerdict:
        self.end()
        report = json.loads(self.report.read_text())
        workers = {
            (int(generation), int(pid)): clients
            for key, clients in report["by_worker"].items()
            for generation, pid in [key.split()]
        }
        return HeldVerdict(
            report["count"],
            report["echoes"],
            report["wrong"],
            report["slowest"],
            tuple(Broken(*one) for one in report["broken"]),
            workers,
            {int(generation): count for generation, count in report["returned"].items()},
        )


@dataclass(frozen=True, slots=True)
class EchoVerdict:
    """`total` includes echoes that arrived after `seconds` were over."""

    seconds: float
    echoes: int
    total: int


class EchoClient(ClientProcess):
    """A few WebSockets, as busy as the server allows. They start at `go`."""

    def __init__(self, directory: Path, host: str, port: int, **options: Any) -> None:
        def make(report: str, counters: str) -> EchoOptions:
            return EchoOptions(host, port, report, counters, **options)

        super().__init__("echo", directory, make)

    def wait_open(self, within: float = HANG_SECONDS) -> Self:
        wait_until(
            lambda: read_counters(self.counters)[1] or not self.alive(),
            within=within,
            what="connections that will be kept busy",
        )
        return self

    def go(self, within: float = HANG_SECONDS) -> EchoVerdict:
        """Run one round, and return when it is over."""
        assert self.process.stdin is not None
        done = read_counters(self.counters)[3]
        self.process.stdin.write(b"!")
        self.process.stdin.flush()
        wait_until(
            lambda: read_counters(self.counters)[3] > done or not self.alive(),
            within=within,
            what="a round of echoes",
        )
        if not self.alive():
            self.end()  # raises with the reason
            raise ClientFailed("the client ended too early")
        report = json.loads(self.report.read_text().splitlines()[-1])
        return EchoVerdict(report["seconds"], int(report["echoes"]), int(report["total"]))
