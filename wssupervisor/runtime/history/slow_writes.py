"""Writing to a disk, which may hang: done in order, by a thread of its own.

It is waited for, but for a moment at most: as a rule an entry is written before the next action is
done, and a disk that hangs holds up nothing.
"""

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from wssupervisor import quiet_thread

WAIT_SECONDS = 0.1
"""For one job; while any waits longer, no other is waited for."""
MOST = 1000
"""So many may wait; one more is not done."""


class SlowWrites:
    """What a job raises is its own affair."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._started = False
        self._late = False

    def do(self, job: Callable[[], object]) -> bool:
        """Waits for it, for at most WAIT_SECONDS; False if it is late. Never raises."""
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
        """Wait until all is done; False where it is not."""
        with self._changed:
            return self._changed.wait_for(self._done, within)

    def _done(self) -> bool:
        return not self._jobs

    def _start(self) -> None:
        context = contextvars.copy_context()  # what each line of the log has
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
