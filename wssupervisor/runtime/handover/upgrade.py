"""Re-executes the supervisor from disk: same process, same children, same sockets, new program.

`execv` keeps all of that (docs/internals/platform.md#execv-keeps-children-and-descriptors). A trial
first runs the new program in a process of its own, on the real state. If the new program cannot
restore that state, the upgrade fails and nothing changes. From the last save of the state to
`execv` nothing else runs.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import NoReturn

import structlog

from wssupervisor import __version__, logging, start_directory
from wssupervisor.errors import Busy, OperationFailed
from wssupervisor.runtime.handover import document
from wssupervisor.runtime.handover.document import HandoverDocument
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR, lower_limit, raise_limit
from wssupervisor.runtime.workers.helper import OUTPUT_MAX, ask_child

log = structlog.get_logger()

TRIAL = "WSSUPERVISOR_TRIAL"
RESUME = "WSSUPERVISOR_RESUME"
"""Variables with the number of the descriptor that has the state."""
TRIAL_SECONDS = 30.0
READY = "ready to take over: wssupervisor "
LINES_SHOWN = 10
FLUSH_SECONDS = 0.5
"""Longest wait for the log to be written; nothing else runs meanwhile."""
HANDLED = frozenset(
    {
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
    }
)
"""Blocked from before `execv` until handlers are set again: by default they end the process."""


class Upgrade:
    def __init__(
        self,
        why_not: Callable[[], str | None],
        save: Callable[[], HandoverDocument],
        quiet: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        """`why_not`: why an upgrade is impossible now; `quiet`: a context without requests."""
        self._why_not = why_not
        self._save = save
        self._quiet = quiet
        self._under_way = False

    async def run(self, about_to: Callable[[str], Awaitable[None]]) -> NoReturn:
        """Become the program that is on disk, unless it cannot take over.

        Calls `about_to` with the new version right before. Raises Busy, OperationFailed.
        """
        if self._under_way:
            raise Busy("an upgrade is already under way. Try again when it is done")
        self._refuse_bad_moment()
        self._under_way = True
        try:
            version = await self._try()
            await about_to(version)
            async with self._quiet():
                self._refuse_bad_moment()
                log.info("re-executing", version=version, before=__version__)
                self._replace()
        finally:
            self._under_way = False

    def _refuse_bad_moment(self) -> None:
        reason = self._why_not()
        if reason is not None:
            raise Busy(reason)

    async def _try(self) -> str:
        """The version of the program that is ready to take over."""
        try:
            memfd = document.write(self._save())
            try:
                said = await ask_child(
                    _command(),
                    memfd,
                    within=TRIAL_SECONDS,
                    more={**os.environ, TRIAL: str(FIRST_DESCRIPTOR)},
                    errors=True,
                    where=start_directory.entered(),
                )
            finally:
                os.close(memfd)
        except OSError as error:
            raise OperationFailed(f"the new program could not be tried: {error.strerror}") from None
        lines = ("" if said is None else said.text).splitlines()
        last = lines[-1] if lines else ""
        if last.startswith(READY) and said is not None and said.status == 0:
            return last.removeprefix(READY)
        if said is None:
            what = f"did not answer within {TRIAL_SECONDS:g}s"
        elif said.endless:
            what = f"cannot take over: it wrote more than {OUTPUT_MAX >> 20} MiB"
        else:
            what = f"cannot take over: {last or 'it wrote nothing'}"
        raise OperationFailed(
            f"the supervisor on disk {what}. wssupervisor {__version__} keeps running, unchanged",
            lines=lines[-LINES_SHOWN:],
        )

    def _replace(self) -> NoReturn:
        found = self._save()
        memfd = document.write(found)
        kept = [memfd, *found.descriptors()]
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            for descriptor in kept:
                os.set_inheritable(descriptor, True)
            unwritten = str(logging.flush(FLUSH_SECONDS))
            variables = {**os.environ, RESUME: str(memfd), logging.UNWRITTEN: unwritten}
            command = _command()
            lower_limit()
            with start_directory.entered():
                os.execve(command[0], command, variables)  # noqa: S606
        except OSError as error:
            raise_limit()
            raise OperationFailed(f"could not be re-executed: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            for descriptor in kept:
                os.set_inheritable(descriptor, False)
            os.close(memfd)


def _command() -> list[str]:
    return [sys.executable, *sys.orig_argv[1:]]


def is_resumed() -> bool:
    """Whether this process continues another program after `execv`, or is a trial run."""
    return TRIAL in os.environ or RESUME in os.environ


def on_trial() -> HandoverDocument | None:
    """The state that this process must be able to restore, if it is a trial; otherwise None.

    Raises OperationFailed.
    """
    descriptor = os.environ.get(TRIAL)
    return None if descriptor is None else document.read(int(descriptor))


def left_to_us() -> HandoverDocument | None:
    """The state that the previous program left in this process. Raises OperationFailed."""
    descriptor = os.environ.pop(RESUME, None)
    if descriptor is None:
        return None
    try:
        return document.read(int(descriptor))
    finally:
        os.close(int(descriptor))
