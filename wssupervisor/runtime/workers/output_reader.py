"""Reads the output of all workers and passes it to the log, within a time budget per turn.

Output for which the log has no room stays in the workers' files, whose size the relay limits. The
output of an ended worker is read in the same way.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.workers.output import Output, OutputLines, OutputState
from wssupervisor.runtime.workers.relay import Relay

TURN_SECONDS = 0.005
"""For all workers together, before control returns to the event loop."""
PAUSE_SECONDS = 0.005
FULL_SECONDS = 0.05
"""Until the next look while the log is full."""
FINISH_SECONDS = 1.0
LAST_WORDS_SECONDS = 0.5
"""How long to wait for an ended worker's last words: a failed reload shows them."""
TAKE_OVER_SECONDS = 10.0
"""How long to wait for those of a worker that ended before this program: its relay starts first."""
LAST_WORDS_KEPT = 32
"""Ended workers whose last lines are kept for later requests."""


@dataclass(frozen=True, slots=True)
class EndedOutputState:
    """Output of an ended worker that the log has not taken yet."""

    worker: WorkerId
    pid: int
    output: OutputState


@dataclass(frozen=True, slots=True)
class OutputReaderState:
    """`last_words`: the last lines of ended workers, including those not in `ended`."""

    ended: tuple[EndedOutputState, ...] = ()
    last_words: dict[WorkerId, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Source:
    worker: WorkerId
    pid: int
    output: Output
    ended: bool = False
    complete_by: float | None = None


class OutputReader:
    """Owns the outputs of ended workers; the crew owns those of living workers."""

    def __init__(
        self,
        relay: Relay,
        deliver: Callable[[WorkerId, int, OutputLines], None],
        takes: Callable[[], bool],
        saved: OutputReaderState,
    ) -> None:
        """`takes`: whether the log has room."""
        self._relay = relay
        self._deliver = deliver
        self._takes = takes
        self._sources: deque[Source] = deque()
        self._again: asyncio.TimerHandle | None = None
        self._last_words = OrderedDict(saved.last_words)
        complete_by = time.monotonic() + TAKE_OVER_SECONDS
        for source in saved.ended:
            output = Output.restore(source.output)
            self._sources.append(Source(source.worker, source.pid, output, True, complete_by))
            self._relay.move(output)

    def save(self) -> OutputReaderState:
        """The outputs of ended workers; the crew saves those of living workers."""
        ended = tuple(
            EndedOutputState(source.worker, source.pid, source.output.save())
            for source in self._sources
            if source.ended
        )
        return OutputReaderState(ended, dict(self._last_words))

    def add(self, worker: WorkerId, pid: int, output: Output) -> None:
        self._sources.append(Source(worker, pid, output))
        self._relay.move(output)

    def forget(self, worker: WorkerId) -> None:
        """Drop the output of a worker whose start failed; the caller closes it."""
        for source in [source for source in self._sources if source.worker == worker]:
            self._sources.remove(source)
            self._relay.forget(source.output)

    def is_complete(self, worker: WorkerId) -> bool:
        """Whether all output before the first such call has arrived, or the wait is over."""
        now = time.monotonic()
        for source in self._sources:
            if source.worker == worker and not source.ended:
                if source.complete_by is None:
                    source.complete_by = now + LAST_WORDS_SECONDS
                if not source.output.is_complete() and now < source.complete_by:
                    return False
                source.complete_by = None
        return True

    def ended(self, worker: WorkerId) -> tuple[str, ...]:
        """Mark a worker as ended; return its last lines. The log gets the rest as it has room."""
        lines = self.last_lines(worker)
        self._last_words[worker] = lines
        while len(self._last_words) > LAST_WORDS_KEPT:
            self._last_words.popitem(last=False)
        for source in self._sources:
            if source.worker == worker:
                source.ended = True
                source.complete_by = time.monotonic() + LAST_WORDS_SECONDS
        self.look()
        return lines

    def last_lines(self, worker: WorkerId) -> tuple[str, ...]:
        """The last lines it wrote, available for some time after its end."""
        for source in self._sources:
            if source.worker == worker and not source.ended:
                return source.output.last_lines()
        return self._last_words.get(worker, ())

    def look(self) -> None:
        """Read until all is read, the log is full, or the turn is over; schedule the next turn."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._turn(time.monotonic() + TURN_SECONDS):
            pause = PAUSE_SECONDS if self._takes() else FULL_SECONDS
            self._again = asyncio.get_running_loop().call_later(pause, self.look)

    def _turn(self, until: float) -> bool:
        """Take one turn; return whether something is left to read."""
        todo = deque(self._sources)
        self._sources.rotate(-1)  # so that no worker is always the last
        while todo and self._takes() and time.monotonic() < until:
            source = todo.popleft()
            if source.output.unread():
                self._pass_on(source, source.output.read())
            if source.output.unread():
                todo.append(source)
            elif source.ended and self._is_over(source):
                self._close(source)
        return any(source.ended or source.output.unread() for source in self._sources)

    @staticmethod
    def _is_over(source: Source) -> bool:
        """Whether the end of an ended worker's output has arrived, or the wait is over."""
        if source.complete_by is None or time.monotonic() >= source.complete_by:
            return True
        # In this order: the relay may move the last bytes between the two.
        return not source.output.pending() and not source.output.unread()

    def _pass_on(self, source: Source, words: OutputLines) -> None:
        if words.pieces or words.skipped:
            self._deliver(source.worker, source.pid, words)

    def _close(self, source: Source) -> None:
        self._pass_on(source, source.output.rest())
        self._sources.remove(source)
        self._relay.release(source.output)
        source.output.close()

    def finish(self) -> None:
        """Read what is left at the end of the program, for at most FINISH_SECONDS."""
        if self._again is not None:
            self._again.cancel()
        until = time.monotonic() + FINISH_SECONDS
        while self._turn(until) and time.monotonic() < until:
            time.sleep(PAUSE_SECONDS)
        for source in list(self._sources):
            missed = source.output.unread()
            if missed:
                self._deliver(source.worker, source.pid, OutputLines(skipped=missed))
            source.output.close()
        self._sources.clear()
