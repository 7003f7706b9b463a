"""Writes to a disk that may hang: in order, in a thread of their own.

The caller waits for each write, at most WAIT_SECONDS: normally an entry is on disk before the next
action, and a disk that hangs blocks nothing.
"""

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from wssupervisor import quiet_thread

WAIT_SECONDS = 0.1
"""Limit for one job. While a job takes longer, callers do not wait for others."""
MOST = 1000
"""At most this many jobs wait; a further one is dropped."""


class SlowWrites:
    """Exceptions of jobs are ignored."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._started = False
        self._late = False

    def do(self, job: Callable[[], object]) -> bool:
        """Run a job and wait at most WAIT_SECONDS; False if it takes longer. Never raises."""
        with self._changed:
            if len(self._jobs) >= MOST:
                return False
            self._jobs.append(job)
            if not self._started:
                self._start()
            self._changed.notify_all()
            if not self._late:
                self._late = not self._changed.wait_for(self._done, WAIT_SECONDS)
            return not self._late

    @property
    def is_idle(self) -> bool:
        with self._changed:
            return self._done()

    def flush(self, within: float) -> bool:
        """Wait until all jobs are done; False at the limit of `within` seconds."""
        with self._changed:
            return self._changed.wait_for(self._done, within)

    def _done(self) -> bool:
        return not self._jobs

    def _start(self) -> None:
        context = contextvars.copy_context()  # the fields of each log line
        with suppress(RuntimeError):  # no more threads: the next call tries again
            quiet_thread.start(lambda: context.run(self._run), self._name)
            self._started = True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs)
                job = self._jobs[0]
            with suppress(Exception):
                job()
            with self._changed:
                self._jobs.popleft()
                if not self._jobs:
                    self._late = False
                    self._changed.notify_all()
