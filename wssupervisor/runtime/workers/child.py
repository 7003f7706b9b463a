"""Child processes of ours that answer one question or do one job, and are no workers."""

import contextlib
import os
import signal
from collections.abc import Mapping

from wssupervisor.runtime.kernel.descent import HELPERS
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR, placing
from wssupervisor.runtime.kernel.pidfd import open_child

KEPT_VARIABLES = frozenset({"PATH", "LANG", "HOME"})
"""Of our environment, for helpers. None that says where Python imports from: see helper.py."""


class Child:
    """A helper of ours; a short one says all on its output, and by its exit status."""

    def __init__(self, pid: int) -> None:
        """Raises OSError: then it is ended."""
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
        """Start it with `descriptor` as its 3, and `more` variables. Raises OSError.

        `question`: its standard input. `errors`: its standard error goes to `output`, too.
        `own_session`: it may outlive us.
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
            with contextlib.suppress(OSError):  # it runs by now
                os.close(null)
        return cls(pid)

    def fileno(self) -> int:
        """Readable from its end on."""
        return self._pidfd

    def status(self) -> int | None:
        """Its exit status, once it has ended; None where a signal ended it."""
        with contextlib.suppress(ChildProcessError):
            found = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if found is not None and found.si_code == os.CLD_EXITED:
                return found.si_status
        return None

    def end(self) -> None:
        """It has said what it had to say, or took too long; then it is reaped with the orphans."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        os.close(self._pidfd)
        HELPERS.discard(self.pid)
