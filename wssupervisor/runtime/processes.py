"""One worker's process tree: spawned, watched by pidfd, signalled, counted, ended."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wssupervisor.fleet.model import Exit
from wssupervisor.runtime.carried import CarriedProcess
from wssupervisor.runtime.holders import environment, socket_inodes, start_time

SHELL = "/bin/sh"
SHIM = (
    'cd "$1" || exit 127; shift; LISTEN_PID=$$; export LISTEN_PID;'
    ' if [ -n "$WATCHDOG_USEC" ]; then WATCHDOG_PID=$$; export WATCHDOG_PID; fi;'
    ' exec "$@"'
)
"""All that the shell sees of ours: LISTEN_PID must be the worker's own pid, known only there."""

FIRST_DESCRIPTOR = 3
PARKING_DESCRIPTOR = 200
"""Descriptors are first moved above this, so that none is overwritten before it is placed."""

PR_SET_CHILD_SUBREAPER = 36
KEPT_VARIABLES = frozenset({"PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LANG", "HOME"})
"""Of our environment, for helpers that run this package, too."""
_IDENTITY = ("WSSUPERVISOR_GENERATION", "WSSUPERVISOR_WORKER", "WSSUPERVISOR_INCARNATION")


def become_subreaper() -> None:
    """Processes that a worker leaves behind become our children: they stay visible and are reaped.

    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def keep_descriptors() -> None:
    """Let no worker inherit what our own parent left open in us."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the one that listed them is closed again
                os.set_inheritable(int(name), False)


def reap_orphans(own: frozenset[int]) -> None:
    """Reap ended children that are no worker's main process."""
    for pid in _children(os.getpid()) - own:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


class Process:
    """Owns the pidfd of the main process, which is readable from its end on."""

    def __init__(self, pid: int, pidfd: int, identity: tuple[str, ...]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.exit: Exit | None = None
        self._identity = identity
        self._seen: dict[int, int | None] = {pid: start_time(pid)}
        """Members ever seen, with their start time: a daemon that left the tree stays ours."""

    @classmethod
    def spawn(
        cls,
        command: Sequence[str],
        directory: str,
        variables: Mapping[str, str],
        descriptors: Sequence[int],
        output: int,
    ) -> "Process":
        """Start the command with these descriptors as 3, 4, ..., in its own process group.

        `output` becomes its standard output and error. Raises OSError.
        """
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            placed = [(null, 0), (output, 1), (output, 2)]
            placed += [(own, FIRST_DESCRIPTOR + at) for at, own in enumerate(descriptors)]
            pid = os.posix_spawn(
                SHELL,
                ["sh", "-c", SHIM, "sh", directory, *command],
                dict(variables),
                file_actions=_placing(placed),
                setpgroup=0,
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        finally:
            os.close(null)
        identity = tuple(variables.get(name, "") for name in _IDENTITY)
        return cls(pid, os.pidfd_open(pid), identity)

    def carry(self) -> CarriedProcess:
        return CarriedProcess(self.pid, self.pidfd, self._identity, self.exit, dict(self._seen))

    @classmethod
    def take_over(cls, carried: CarriedProcess) -> "Process":
        found = cls(carried.pid, carried.pidfd, carried.identity)
        found.exit, found._seen = carried.exit, dict(carried.seen)
        return found

    def reap(self) -> Exit | None:
        """How the main process ended; None while it lives."""
        if self.exit is None:
            try:
                found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                self.exit = Exit()
                return self.exit
            if found is None:
                return None
            if found.si_code == os.CLD_EXITED:
                self.exit = Exit(status=found.si_status)
            else:
                self.exit = Exit(signal=signal.Signals(found.si_status).name)
        return self.exit

    def members(self) -> frozenset[int]:
        """Living pids of the tree: descendants, and whoever was one once."""
        alive = {pid for pid, started in self._seen.items() if _is(pid, started)}
        found = set(alive)
        todo = list(alive)
        while todo:
            new = _children(todo.pop()) - found
            found |= new
            todo += new
        if self.exit is not None:
            found |= {pid for pid in _children(os.getpid()) - found if self._carries_us(pid)}
        found = {pid for pid in found if not _is_zombie(pid)}
        self._seen = {pid: self._seen.get(pid) or start_time(pid) for pid in found | {self.pid}}
        return frozenset(found)

    def _carries_us(self, pid: int) -> bool:
        own = environment(pid)
        return tuple(own.get(name, "") for name in _IDENTITY) == self._identity

    def socket_inodes(self) -> set[int]:
        """Inodes of the sockets that any process of the tree holds."""
        return {inode for pid in self.members() for inode in socket_inodes(pid)}

    def descriptor_count(self) -> int:
        """Open descriptors of the whole tree; 0 where the kernel (before 6.2) does not tell."""
        total = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                total += os.stat(f"/proc/{pid}/fd").st_size  # noqa: PTH116 - a third of the cost
        return total

    def has_placed(self, inodes: Sequence[int]) -> bool:
        """Its main process still has these sockets where they were placed at its start."""
        try:
            found = [
                os.stat(f"/proc/{self.pid}/fd/{FIRST_DESCRIPTOR + at}").st_ino  # noqa: PTH116
                for at in range(len(inodes))
            ]
        except OSError:
            return False
        return found == list(inodes)

    def signal(self, number: int) -> None:
        """To the main process; when that has gone, to each that is left."""
        if self.exit is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)
            return
        for pid in self.members():
            _signal(pid, self._seen.get(pid), number)

    def kill(self) -> None:
        """SIGKILL to every process of the tree, stopped ones included."""
        if self.exit is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        for pid in self.members() - {self.pid}:
            _signal(pid, self._seen.get(pid), signal.SIGKILL)

    def close(self) -> None:
        os.close(self.pidfd)


class Child:
    """A short helper of ours, reaped with the orphans: it says all on its output."""

    def __init__(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)

    @classmethod
    def spawn(
        cls,
        command: list[str],
        output: int,
        descriptor: int,
        more: Mapping[str, str] | None = None,
        *,
        errors: bool = False,
    ) -> "Child":
        """Start it with `descriptor` as its 3, and `more` variables. Raises OSError.

        `errors`: its standard error goes to `output`, too.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        variables = {name: value for name, value in os.environ.items() if name in KEPT_VARIABLES}
        variables |= more or {}
        try:
            placed = [(null, 0), (output, 1), (output if errors else null, 2)]
            placed += [(descriptor, FIRST_DESCRIPTOR)]
            pid = os.posix_spawn(
                command[0],
                command,
                variables,
                file_actions=_placing(placed),
                setpgroup=0,
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        finally:
            os.close(null)
        return cls(pid)

    def end(self) -> None:
        """It has said what it had to say, or took too long."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)


def _placing(placed: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    high = {own: PARKING_DESCRIPTOR + at for at, (own, _) in enumerate(placed)}
    moves = [(os.POSIX_SPAWN_DUP2, own, up) for own, up in high.items()]
    moves += [(os.POSIX_SPAWN_DUP2, high[own], target) for own, target in placed]
    closes = [(os.POSIX_SPAWN_CLOSE, up) for up in high.values()]
    return [*moves, *closes]  # type: ignore[list-item] # CLOSE takes two items, typeshed has one


def _signal(pid: int, started: int | None, number: int) -> None:
    """Signal a process that is not our child, unless its pid is another one's by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        pidfd = os.pidfd_open(pid)
        try:
            if _is(pid, started):
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _is(pid: int, started: int | None) -> bool:
    return started is not None and start_time(pid) == started


def _is_zombie(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"


def _children(pid: int) -> set[int]:
    """Children of all the process's threads (CONFIG_PROC_CHILDREN, in every Debian kernel)."""
    return {child for line in _children_lines(pid) for child in map(int, line.split())}


def _children_lines(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/task"
    try:
        tasks = os.listdir(directory)  # noqa: PTH208 - a third of pathlib's cost
    except OSError:
        return
    for task in tasks:
        with contextlib.suppress(OSError), open(f"{directory}/{task}/children") as file:  # noqa: PTH123
            yield file.read()
