"""One worker's process tree: spawned, watched by pidfd, signalled, counted, ended."""

import contextlib
import functools
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wssupervisor.fleet.model import Exit, SlotId
from wssupervisor.runtime.kernel.descent import children
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR, files_of_workers, placing
from wssupervisor.runtime.kernel.pidfd import exit_of, open_child, send
from wssupervisor.runtime.kernel.procfs import (
    environment,
    is_alive,
    may_look,
    pids,
    socket_descriptors,
    socket_inodes,
    start_time,
)
from wssupervisor.runtime.workers.kin import STARTER, Marks, identity_in
from wssupervisor.runtime.workers.serving import Acceptor, Serving

SHELL = "/bin/sh"
SHIM = (
    'cd "$1" || { echo "the release directory $1 is gone, or its user may not enter it. Install it'
    ' again, or reload to another release" >&2; exit 127; }; shift;'
    ' ulimit -S -n "$1" 2>/dev/null; shift;'
    " LISTEN_PID=$$; export LISTEN_PID;"
    ' if [ -n "$WATCHDOG_USEC" ]; then WATCHDOG_PID=$$; export WATCHDOG_PID; fi;'
    ' exec "$@"'
)
"""The only shell code of ours: LISTEN_PID must be the worker's own pid, known only here."""


STATUS_WITHIN = 0.5
"""Seconds to wait for the exit status of a process that is not our child: the kernel reports it
once the parent has waited for the process."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    pid: int
    pidfd: int
    identity: tuple[str, ...]
    exit: Exit | None
    seen: dict[int, int | None]
    acceptor: Acceptor | None


class Process:
    """Owns the pidfd of the main process, which becomes readable when the process ends."""

    def __init__(self, pid: int, pidfd: int, identity: tuple[str, ...]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.exit: Exit | None = None
        self.probes = 0
        """Probes of ours that it has accepted and that we hold open."""
        self._identity = identity
        self._ended_at: float | None = None
        self.serving = Serving(pid)
        self._seen: dict[int, int | None] = {pid: None}
        with contextlib.suppress(OSError):  # out of descriptors; `members` tries again
            self._seen[pid] = start_time(pid)
        """Members ever seen, with their start time: a daemon that left the tree stays ours."""

    @classmethod
    def spawn(
        cls,
        command: Sequence[str],
        directory: str,
        variables: Mapping[str, str],
        descriptors: Sequence[int],
        output: int,
        errors: int | None = None,
    ) -> "Process":
        """Start the command with these descriptors as 3, 4, ..., in a session of its own.

        In the supervisor's session, the supervisor's death would orphan the worker's process group,
        and the kernel sends SIGHUP to an orphaned group with a stopped member (setpgid(2)).
        `output` becomes its standard output and, without `errors`, its standard error. Raises
        OSError.
        """
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            placed = [(null, 0), (output, 1), (output if errors is None else errors, 2)]
            placed += [(own, FIRST_DESCRIPTOR + at) for at, own in enumerate(descriptors)]
            pid = os.posix_spawn(
                SHELL,
                ["sh", "-c", SHIM, "sh", directory, files_of_workers(), *command],
                dict(variables),
                file_actions=placing(placed),
                setsid=True,  # see above
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        finally:
            with contextlib.suppress(OSError):  # the child is already running
                os.close(null)
        return cls(pid, open_child(pid), identity_in(variables))

    def save(self) -> ProcessState:
        return ProcessState(
            self.pid,
            self.pidfd,
            self._identity,
            self.exit,
            dict(self._seen),
            self.serving.acceptor,
        )

    @classmethod
    def restore(cls, state: ProcessState) -> "Process":
        """The saved process; not our child if the supervisor that started it has died."""
        found = cls(state.pid, state.pidfd, state.identity)
        found.exit, found._seen = state.exit, dict(state.seen)
        found.serving.acceptor = state.acceptor
        return found

    def reap(self) -> Exit | None:
        """Return how the main process ended; None while it lives or its status is unknown."""
        if self.exit is None:
            try:
                found = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                self.exit = self._exit_of_stranger()
                return self.exit
            if found is None:
                return None
            if found.si_code == os.CLD_EXITED:
                self.exit = Exit(status=found.si_status)
            else:
                self.exit = Exit(signal=signal.Signals(found.si_status).name)
        return self.exit

    def _exit_of_stranger(self) -> Exit | None:
        """Like `reap`, for a process that a dead supervisor started."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        if not poll.poll(0):
            return None
        ended = exit_of(self.pidfd, self.pid)
        if ended is not None:
            return ended
        now = time.monotonic()
        self._ended_at = now if self._ended_at is None else self._ended_at
        return Exit() if now - self._ended_at >= STATUS_WITHIN else None

    def members(self) -> frozenset[int]:
        """Living pids of the tree: descendants, and processes that once were descendants.

        Raises OSError if /proc cannot be read now: that must not be taken for an empty tree.
        """
        if self.exit is None and self._seen.get(self.pid) is None:
            self._seen[self.pid] = start_time(self.pid)
        alive = {pid for pid, started in self._seen.items() if _is(pid, started)}
        found = set(alive)
        todo = list(alive)
        while todo:
            new = children(todo.pop()) - found
            found |= new
            todo += new
        if self.exit is not None:
            found |= {pid for pid in self._left_behind() - found if self._carries_us(pid)}
        living: dict[int, int] = {}
        for pid in found:
            started = self._seen.get(pid) or start_time(pid)
            if started is not None and is_alive(pid, started):
                living[pid] = started
        self._seen = {self.pid: self._seen.get(self.pid), **living}
        return frozenset(living)

    def seen(self) -> AbstractSet[int]:
        """Members found at the last look, the main process included."""
        return self._seen.keys()

    def adopt(self, pid: int, started: int) -> None:
        """Count a process that left the tree as its member again."""
        self._seen[pid] = started

    def marks(self, pipe: int, slots: frozenset[SlotId]) -> Marks:
        """What a process that leaves the tree may still have of it."""
        return Marks(self.pid, self._identity, pipe, slots)

    def _left_behind(self) -> set[int]:
        """Pids to search for members whose parent has ended: our children, if we started them."""
        starter = self._identity[STARTER]
        return set(pids()) if starter not in ("", supervisor_id()) else children(os.getpid())

    def _carries_us(self, pid: int) -> bool:
        return identity_in(environment(pid)) == self._identity

    def socket_inodes(self) -> set[int]:
        """Inodes of the sockets that any process of the tree holds."""
        return {inode for pid in self.members() for inode in socket_inodes(pid)}

    def sockets(self) -> dict[int, dict[int, int]]:
        """The descriptors of sockets that each process of the tree holds, by pid and inode."""
        return {pid: socket_descriptors(pid) for pid in self.members()}

    def hidden(self) -> frozenset[int]:
        """Members whose descriptors we may not list: of another uid, or with capabilities."""
        return frozenset(pid for pid in self.members() if not may_look(pid))

    def took(self, inode: int) -> bool:
        """Whether a process of the tree holds this probe; remembers the holders.

        A process that cannot be inspected counts as a holder: the probe was steered to this worker
        alone.
        """
        holders = {pid for pid in self.members() if inode in socket_inodes(pid)}
        if holders:
            self.serving.took_probe(holders)
        return bool(holders) or bool(self.hidden())

    def descriptor_count(self) -> int:
        """Open descriptors of the whole tree, without those of our probes.

        0 if the kernel does not report it (before 6.2).
        """
        total = 0
        for pid in self.members():
            with contextlib.suppress(OSError):
                total += os.stat(f"/proc/{pid}/fd").st_size  # noqa: PTH116 - a third of the cost
        return max(0, total - self.probes)

    def has_placed(self, inodes: Sequence[int]) -> bool:
        """Whether its main process still has these sockets at the descriptors of its start."""
        try:
            found = [
                os.stat(f"/proc/{self.pid}/fd/{FIRST_DESCRIPTOR + at}").st_ino  # noqa: PTH116
                for at in range(len(inodes))
            ]
        except PermissionError:
            return True  # unknown, so assumed
        except OSError:
            return False
        return found == list(inodes)

    def signal(self, number: int) -> None:
        """Signal the main process, or if it has ended, each process that is left."""
        if self.exit is not None:
            self.signal_rest(number)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self.pidfd, number)

    def may_signal(self) -> bool:
        """Whether the supervisor may signal it: a worker may have changed its user."""
        if self.exit is None:
            with contextlib.suppress(ProcessLookupError):
                try:
                    signal.pidfd_send_signal(self.pidfd, 0)
                except PermissionError:
                    return False
        return True

    def signal_rest(self, number: int) -> None:
        """Signal all processes of the tree but the main one."""
        for pid in self.members() - {self.pid}:
            send(pid, self._seen.get(pid), number)

    def kill(self) -> None:
        """Send SIGKILL to every process of the tree, stopped ones included."""
        if self.exit is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        for pid in self.members() - {self.pid}:
            send(pid, self._seen.get(pid), signal.SIGKILL)

    def close(self) -> None:
        os.close(self.pidfd)


@functools.cache
def supervisor_id() -> str:
    """The id of this supervisor in its workers' environment, unique until a reboot.

    Raises OSError.
    """
    return f"{os.getpid()}:{start_time(os.getpid())}"


def _is(pid: int, started: int | None) -> bool:
    return started is not None and start_time(pid) == started
