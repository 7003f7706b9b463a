"""The common interface of all ways to serve and reload the application."""

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from examples.load.dial import dial
from examples.load.waiting import wait_until
from examples.load.wire import WireError
from tests.bench.cost import tree
from tests.bench.rivals.tools import VENV, find, rival_environment
from tests.harness.settings import HOST, free_port

WORKERS = 2
READY_WITHIN = 30.0
END_WITHIN = 10.0
RELOAD_WITHIN = 60.0
PROBE_SOURCE = "127.7.0.1"
PROBE_TIMEOUT = 5.0
ASK_EVERY = 0.1
LOG_LINES = 5


class RivalFailed(Exception):
    """The rival did not start, or its reload command failed. Its row has the reason."""


class Rival(ABC):
    """One running server. `close` ends it."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    """Programs that must be installed."""
    pip: ClassVar[tuple[str, ...]] = ()
    deb: ClassVar[tuple[str, ...]] = ()
    reload_command: ClassVar[str]
    note: ClassVar[str] = ""
    reloads: ClassVar[bool] = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.port = free_port()
        self.release_file = directory / "release"
        self.install(1)
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot run here; None if it can."""
        lacking = [program for program in cls.programs if find(program) is None]
        if not lacking:
            return None
        source = " and ".join(
            f"from {tool}: {', '.join(names)}"
            for tool, names in (("pip", cls.pip), ("apt", cls.deb))
            if names
        )
        return f"not measured: {', '.join(lacking)} not found ({source})"

    @classmethod
    @abstractmethod
    def version(cls) -> str: ...

    @abstractmethod
    def command(self) -> list[str]:
        """Return a command that runs in the foreground and serves `port`."""

    @abstractmethod
    def reload(self) -> float | None:
        """Run the rival's own graceful reload, until its command returns.

        Returns the monotonic instant from which no connection reaches the old code, if the rival
        promises one.
        """

    def install(self, release: int) -> None:
        """Install this release: from now on it is the one that is imported."""
        new = self.release_file.with_suffix(".new")
        new.write_text(str(release))
        new.replace(self.release_file)

    def start(self) -> None:
        command = self.command()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_serving(self.port)

    def environment(self) -> dict[str, str]:
        return {**rival_environment(), "BENCH_RELEASE": str(self.release_file)}

    def wait_serving(self, port: int) -> None:
        def answers() -> bool:
            self._check_alive()
            try:
                sock, _ = dial(HOST, port, source=PROBE_SOURCE, timeout=PROBE_TIMEOUT)
            except (OSError, WireError):
                return False
            sock.close()
            return True

        for _ in range(2 * WORKERS):
            wait_until(answers, within=READY_WITHIN, what=f"{self.name} to serve", every=ASK_EVERY)

    def _check_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            raise RivalFailed(f"it exited with status {self._process.returncode}: {self.log()}")

    def log(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return " | ".join(lines[-LOG_LINES:])

    def roots(self) -> tuple[int, ...]:
        """Return its processes; their descendants belong to it."""
        return () if self._process is None else (self._process.pid,)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def run(self, command: list[str]) -> None:
        """Run a command of the reload, which must succeed."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RELOAD_WITHIN,
            check=False,
        )
        if done.returncode:
            raise RivalFailed(f"{Path(command[0]).name} failed: {done.stdout} {done.stderr}")

    def settle(self) -> None:  # noqa: B027 - most have nothing to do
        """Clean up after the clients of a reload have closed."""

    def close(self) -> None:
        if self._process is None:
            return
        left = _pidfds(self._process.pid)
        try:
            self._process.terminate()
            try:
                self._process.wait(END_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(END_WITHIN)
            for fd in left:  # those that did not end with it
                _kill(fd)
        finally:
            for fd in left:
                os.close(fd)
        self._process = None


def venv_program(name: str) -> str:
    return str(VENV / "bin" / name)


def _pidfds(root: int) -> list[int]:
    """Open pidfds of all descendants of a process, so that none can be confused later."""
    found = []
    for pid in tree([root]) - {root}:
        try:
            found.append(os.pidfd_open(pid))
        except ProcessLookupError:
            continue
    return found


def _kill(fd: int) -> None:
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        return
