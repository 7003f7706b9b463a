"""Child processes of the supervisor, other than workers, that answer one question or do one job."""

import contextlib
import os
import signal
from collections.abc import Mapping

from wssupervisor.runtime.kernel.descent import HELPERS
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR, placing
from wssupervisor.runtime.kernel.pidfd import open_child

KEPT_VARIABLES = frozenset({"PATH", "LANG", "HOME"})
"""Variables that helpers inherit. None of them affects Python's import path: see helper.py."""


class Child:
    """A helper process; a short-lived one answers by its output and its exit status."""

    def __init__(self, pid: int) -> None:
        """Take over a child process. If this raises OSError, the process was killed."""
        self.pid = pid
        self._pidfd = open_child(pid)
        HELPERS.add(pid)

    @classmethod
    def spawn(
        cls,
        command: list[str],
        question: int,
        output: int,
        descriptor: int,
        more: Mapping[str, str] | None = None,
        *,
        errors: bool = False,
        own_session: bool = False,
    ) -> "Child":
        """Start a child with `descriptor` as its descriptor 3. Raises OSError.

        `more`: further environment variables. `question`: its standard input. `errors`: whether
        its standard error goes to `output`, too.
        `own_session`: it may outlive the supervisor.
        """
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        variables = {name: value for name, value in os.environ.items() if name in KEPT_VARIABLES}
        variables |= more or {}
        try:
            placed = [(question, 0), (output, 1), (output if errors else null, 2)]
            placed += [(descriptor, FIRST_DESCRIPTOR)]
            pid = os.posix_spawn(
                command[0],
                command,
                variables,
                file_actions=placing(placed),
                **({"setsid": True} if own_session else {"setpgroup": 0}),
                setsigmask=(),
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            )
        finally:
            with contextlib.suppress(OSError):  # the child is already running
                os.close(null)
        return cls(pid)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process ends."""
        return self._pidfd

    def status(self) -> int | None:
        """Return its exit status, after it has ended; None if a signal ended it."""
        with contextlib.suppress(ChildProcessError):
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if found is not None and found.si_code == os.CLD_EXITED:
                return found.si_status
        return None

    def end(self) -> None:
        """Kill it, after it has answered or took too long; it is reaped with the orphans."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        HELPERS.discard(self.pid)
