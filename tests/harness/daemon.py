"""The daemon and wssctl as a user runs them: as programs, by their arguments and exit statuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from examples.load.clients import HeldClient, StormClient
from examples.load.verdict import Cutover
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.census import alive, children_of, end_all, workers_of
from tests.harness.fd_store import FdStore
from tests.harness.settings import Settings
from tests.harness.sockets import HeldSockets
from wssupervisor.control.client import Client
from wssupervisor.errors import WssError

ROOT = Path(__file__).resolve().parents[2]
STOP_WITHIN = 20.0
"""A promise: a stop waits for `[stop]` of its workers, which is shorter in tests, and no longer."""
LOG_LINES = 60
DIES_AT = ROOT / "tests/harness/dies_at.py"
FAULTS = ROOT / "tests/harness/faults.py"
FORBIDDEN = ROOT / "tests/harness/forbidden.py"
# As a shell in the foreground starts it: a Ctrl-C reaches it, however the tests were started.
INTERRUPTIBLE = ("env", "--default-signal=INT")
# The tests themselves may run under nohup.
HANGS_UP = ("env", "--default-signal=HUP")
LIMITED = 'ulimit -n "$0" && exec "$@"'
CONTAIN = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
ASK_EVERY = 0.05  # each look costs the daemon 2 ms, on cores that are also measured


@dataclass(frozen=True, slots=True)
class Ctl:
    """What one wssctl said and how it ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict), self.out
        return found


@dataclass(frozen=True, slots=True)
class WorkerView:
    pid: int
    index: int
    generation: int
    state: str


def environment() -> dict[str, str]:
    """Ours, without what could make a test depend on its caller."""
    systemds = ("NOTIFY_SOCKET", "LISTEN_", "JOURNAL_STREAM", "WATCHDOG_")
    dropped = (*systemds, "WSSUPERVISOR_", "PYTEST", "PYTHONDONTWRITEBYTECODE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {**kept, "PYTHONPATH": str(ROOT)}


class Daemon:
    """One daemon, from start to stop; leaving the `with` ends it and all its workers."""

    def __init__(
        self,
        settings: Settings,
        *,
        control: Path | None = None,
        sockets: HeldSockets | FdStore | None = None,
        borrows_name: bool = False,  # another one's: its processes are not ours to end
        keeps_workers: bool = False,  # they are another one's from some moment on
        forbidden: str | None = None,  # in a sandbox that forbids that: see forbidden.py
        contained: bool = False,  # as the first process of a pid namespace
        dies_at: Path | None = None,  # see dies_at.py
        faults: Path | None = None,  # see faults.py
        wrapper: Sequence[str] = HANGS_UP,
        starts_in: Path | None = None,
        relative: Sequence[str] = (),  # in place of --config and --control
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        log_to: int | None = None,
        errors_to: Path | None = None,
        open_files: int | None = None,  # as many descriptors as it may have, and no more
        python: Path | None = None,  # with another installation than these tests have
    ) -> None:
        self.settings = settings
        self.config = settings.write()
        # A path of a control socket has at most 107 bytes: pytest's directories can be longer.
        self.private = Path(tempfile.mkdtemp(prefix="wss-"))
        self.control = control or self.private / "control.sock"
        self._sockets = sockets
        self._borrows_name = borrows_name or keeps_workers
        self.forbidden = forbidden
        self._contained = contained
        self._dies_at = dies_at
        self._faults = faults
        self._wrapper = wrapper
        self._starts_in = starts_in or self.private
        self._relative = relative
        self._options = options
        self._variables = dict(variables or {})
        if isinstance(sockets, FdStore):
            self._variables |= sockets.variables
        self._log_to = log_to
        self._errors_to = errors_to
        self._open_files = open_files
        self._python = str(python or sys.executable)
        self._log = self.private / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        finally:
            if kind is not None:
                print(f"--- log of {self.settings.name}, the end:")
                print("\n".join(self.log().splitlines()[-LOG_LINES:]))
            shutil.rmtree(self.private)

    def close(self) -> None:
        """End everything of this instance, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(HANG_SECONDS)
        if not self._borrows_name:
            end_all(self.settings.name)

    # -- the daemon

    def command(self) -> list[str]:
        return [*self._wrapper, *self._unwrapped()]

    def _unwrapped(self) -> list[str]:
        command = [self._python, "-m", "wssupervisor"]
        if self._dies_at is not None:
            command = [sys.executable, str(DIES_AT), str(self._dies_at)]
        if self._faults is not None:
            command = [sys.executable, str(FAULTS), str(self._faults)]
        own = ["--config", str(self.config), "--control", str(self.control)]
        command += self._relative or own
        command += ["--name", self.settings.name, *self._options]
        return command

    def launch(self) -> subprocess.Popen[bytes]:
        command = self._unwrapped()
        if self._contained:
            command = [*CONTAIN, *command]
        if self._open_files is not None:
            command = ["sh", "-c", LIMITED, str(self._open_files), *command]
        passed: list[int] = []
        if self.forbidden is not None:
            command = [sys.executable, "-S", str(FORBIDDEN), self.forbidden, *command]
        if self._sockets is not None:
            command, passed = self._sockets.wrap(command)
        try:
            errors = self._errors_to or self._log
            with self._log.open("ab") as log, errors.open("ab") as stderr:
                self._process = subprocess.Popen(
                    [*self._wrapper, *command],
                    cwd=self._starts_in,
                    env={**environment(), **self._variables},
                    stdin=subprocess.DEVNULL,
                    stdout=log if self._log_to is None else self._log_to,
                    stderr=stderr,
                    pass_fds=passed,
                )
        finally:
            for fd in passed:
                os.close(fd)
        return self._process

    def start(self) -> Self:
        process = self.launch()

        def serving() -> bool:
            assert process.poll() is None, f"ended with {process.returncode}:\n{self.log()}"
            return self.state() == "serving"

        wait_until(serving, what="state serving", every=ASK_EVERY)
        return self

    def die(self) -> None:
        """By SIGKILL, as at any moment."""
        self.process.kill()
        self.process.wait(HANG_SECONDS)

    def run_to_its_end(self, within: float = HANG_SECONDS) -> int:
        """For a start that is expected to fail: the exit status."""
        return self.launch().wait(within)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def end_worker(self, pid: int) -> None:
        """Kill one and wait until the daemon has noticed."""
        os.kill(pid, signal.SIGKILL)
        self.wait_noticed(pid)

    def wait_noticed(self, *pids: int) -> None:
        """Until the daemon knows that these workers have ended."""
        self.wait_for(
            lambda status: (
                not any(
                    one["pid"] in pids
                    for shown in status["generations"]
                    for one in shown["workers"]
                )
            ),
            what=f"the end of workers {pids}",
        )

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid(), number)

    def pid(self) -> int:
        """Of the daemon, as seen from here."""
        if not self._contained:
            return self.process.pid
        (pid,) = children_of(self.process.pid)
        return pid

    def wait_end(self, within: float = STOP_WITHIN) -> int:
        return self.process.wait(within)

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_tail(self, most: int = 5000) -> str:
        """At most the last `most` bytes of a log that may be long."""
        with self._log.open("rb") as file:
            file.seek(max(0, self._log.stat().st_size - most))
            return file.read().decode(errors="replace")

    # -- wssctl

    def ctl_command(self, *arguments: str) -> list[str]:
        program = [sys.executable, "-m", "wssupervisor.commands.cli"]
        return [*program, "--control", str(self.control), *arguments]

    def hint(self, words: str) -> str:
        """A command as hints of wssctl print it, with the option that `ctl` gives."""
        return f"wssctl --control {self.control} {words}"

    def ctl(self, *arguments: str, within: float = HANG_SECONDS) -> Ctl:
        done = subprocess.run(
            self.ctl_command(*arguments),
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return Ctl(done.returncode, done.stdout, done.stderr)

    def launch_ctl(self, *arguments: str) -> subprocess.Popen[str]:
        """A wssctl that runs in the background; the caller waits for it."""
        return subprocess.Popen(
            [*INTERRUPTIBLE, *self.ctl_command(*arguments)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def status(self) -> dict[str, Any]:
        """What `wssctl status --json` prints, without a process for each look."""
        return Client(str(self.control)).call("status")

    def state(self) -> str:
        """Of the instance; "absent" while no daemon answers."""
        try:
            return str(self.status()["state"])
        except WssError:
            return "absent"

    def wait_unasked(self) -> None:
        """Until it has closed the connections of all questions, whose descriptors are its own."""
        ends = f" 03 [0-9]+ {re.escape(str(self.control))}$"  # SS_CONNECTED
        wait_until(
            lambda: not re.search(ends, Path("/proc/net/unix").read_text(), re.MULTILINE),
            what="no connection at the control socket",
        )

    def descriptors(self) -> list[str]:
        """What it has open, by kind, apart from what questions cost; a descriptor each."""
        self.wait_unasked()
        found = []
        for one in Path(f"/proc/{self.pid()}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = str(one.readlink())
                found.append(target.partition(":")[0] if ":" in target else target)
        return sorted(found)

    def workers(self, generation: int | None = None) -> list[WorkerView]:
        """All workers that have a process, of one generation or of all."""
        return [
            WorkerView(worker["pid"], worker["index"], shown["number"], worker["state"])
            for shown in self.status()["generations"]
            for worker in shown["workers"]
            if worker.get("pid") and generation in {None, shown["number"]}
        ]

    def active(self) -> int:
        numbers = [
            shown["number"] for shown in self.status()["generations"] if shown["state"] == "active"
        ]
        assert len(numbers) == 1, numbers
        return int(numbers[0])

    def active_pids(self) -> list[int]:
        return sorted(worker.pid for worker in self.workers(self.active()))

    def reload(self, *options: str) -> Cutover:
        """A reload that must succeed."""
        return self._cut_over("reload", *options)

    def roll_back(self) -> Cutover:
        """A roll back that must succeed."""
        return self._cut_over("rollback")

    def _cut_over(self, *verb: str) -> Cutover:
        answer = self.ctl(*verb, "--json")
        assert answer.status == 0, answer
        return Cutover.from_verdict(answer.document)

    def wait_for(
        self,
        condition: Callable[[dict[str, Any]], object],
        *,
        what: str,
        within: float = HANG_SECONDS,
    ) -> None:
        """Until the status document meets a condition."""
        wait_until(lambda: condition(self.status()), within=within, what=what, every=ASK_EVERY)

    def wait_ready(self, count: int, *, within: float = HANG_SECONDS) -> None:
        """Until this many workers of the active generation serve."""

        def ready(status: dict[str, Any]) -> bool:
            states = [one["state"] for one in status["generations"][0]["workers"]]
            return status["state"] == "serving" and states.count("ready") == count

        self.wait_for(ready, within=within, what=f"{count} ready workers")

    def stop(self) -> int:
        """By SIGTERM; the daemon's exit status."""
        self.signal(signal.SIGTERM)
        return self.wait_end()

    # -- what is left, and clients

    def leftovers(self) -> list[str]:
        """Processes and files that outlived the daemon."""
        left = [f"process {pid}" for pid in workers_of(self.settings.name)]
        left += [f"file {path}" for path in self.private.iterdir() if path != self._log]
        return left

    def storm(self, directory: Path, **options: Any) -> StormClient:
        return StormClient(directory, *self.settings.target("raw"), **options)

    def held(self, directory: Path, count: int, **options: Any) -> HeldClient:
        return HeldClient(directory, *self.settings.target("ws"), count, **options)


def unchanged(before: Sequence[int], after: Sequence[int]) -> bool:
    """The same live processes as before."""
    return sorted(before) == sorted(after) and all(alive(pid) for pid in after)
