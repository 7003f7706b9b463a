"""When connections are counted: often while an answer waits for a count, rarely otherwise.

A census reads the descriptors of every worker and dumps the kernel's socket table, so its cost
grows with the number of connections. Each rate below is a share of one core.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from wssupervisor.fleet.lifecycle import EMPTY_ROUNDS, FINISHING
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.state import Drain, ReloadPhase, State

CENSUS_SECONDS = 0.5
"""Seconds between two censuses while an answer waits for a count."""
IDLE_CENSUS_SECONDS = 30.0
"""Seconds between two censuses otherwise: even an empty dump of the kernel's table costs 1 ms."""
CENSUS_SHARE = 0.01
"""At most this share of one core while an answer waits; a census that decides a drain is exempt."""
IDLE_CENSUS_SHARE = 0.0005
FRESH_SECONDS = 1.0
"""A census no older than this is good enough for `status`."""
EXPENSIVE_CENSUS_SECONDS = 0.01
"""A census that costs more is not taken for `status` unless descriptors hint at other counts."""
ASKED_SHARE = 0.05
"""At most this share of one core for censuses that are taken for `status` alone."""
COUNTED_FOR = frozenset(
    {
        NoteKind.RELOAD_BEGUN,
        NoteKind.ROLLBACK_BEGUN,
        NoteKind.RELEASING_SOCKETS,
        NoteKind.WORKER_UNRESPONSIVE,
    }
)
"""Notes that make a census due: what follows decides by, or reports, a number of connections."""


class Need(Enum):
    """What the fleet needs the next census for."""

    NUMBERS = "numbers"
    """Only to show numbers that are not too old."""
    WAITED_FOR = "waited for"
    """A drain, a leave or the end of a stall waits for a count."""
    DECIDES = "decides"
    """The next census may confirm what the last one found, or a cutover waits for it."""


def need(state: State) -> Need:
    """What the fleet needs the next census for."""
    drains = list(_drains(state))
    reload, out = state.reload, state.out_of_rotation
    releasing = reload is not None and reload.phase is ReloadPhase.RELEASING_SOCKETS
    confirms = any(0 < drain.empty_rounds < EMPTY_ROUNDS for drain in drains)
    if releasing or confirms or any(worker.lacks_slots for worker in state.workers()):
        return Need.DECIDES
    stalls = any(worker.stalled_since is not None for worker in state.workers())
    if drains or stalls or (out is not None and out.emptied_at is None):
        return Need.WAITED_FOR
    return Need.NUMBERS


def _drains(state: State) -> Iterator[Drain]:
    for worker in state.workers():
        if worker.state in FINISHING and worker.drain is not None:
            yield worker.drain


@dataclass(frozen=True, slots=True)
class Taken:
    """The last successful census: when it began, and its cost in processor seconds."""

    began_at: float
    cpu_seconds: float


class CensusPace:
    """Decides when the next census is due. Not saved: a new supervisor counts at once.

    Instants are monotonic seconds.
    """

    def __init__(self) -> None:
        self._last: Taken | None = None
        self._tried_at = 0.0
        self._due_at = 0.0
        self._at_once = True

    def begin(self, now: float) -> None:
        """A census begins; if it fails, the next one follows after the idle interval."""
        self._tried_at = now
        self._due_at = now + IDLE_CENSUS_SECONDS
        self._at_once = False

    def taken(self, taken: Taken, need: Need, now: float) -> None:
        """The census that began last has succeeded."""
        self._last = taken
        self._due_at = now + pause(taken.cpu_seconds, need)

    def noted(self, kind: NoteKind) -> None:
        """The fleet made a note of this kind, after which a census may be due."""
        if kind in COUNTED_FOR:
            self.count_at_once()

    def count_at_once(self) -> None:
        """Count as soon as the census under way, if there is one, has ended."""
        self._at_once = True

    def count_soon(self, now: float) -> None:
        """Count within `CENSUS_SECONDS`: a worker may have lost its slots."""
        self._due_at = min(self._due_at, now + CENSUS_SECONDS)

    def is_due(self, need: Need, now: float) -> bool:
        """Whether to count now, unless `put_off` finds that it costs too much."""
        if self._at_once:
            return True
        if self._last is not None and need is not Need.NUMBERS:
            # A drain that began since the last census does not wait for the idle interval.
            self._due_at = min(self._due_at, self._tried_at + pause(self._last.cpu_seconds, need))
        return now >= self._due_at

    def may_put_off(self, need: Need) -> bool:
        """Whether the census that is due serves numbers alone, so that its cost decides."""
        return self._last is not None and not self._at_once and need is Need.NUMBERS

    def put_off(self, growth: float, now: float) -> bool:
        """Put the census that is due off if it has become too expensive for its interval.

        `growth`: open descriptors of all workers now, divided by those at the last census. The cost
        of a census grows in proportion.
        """
        assert self._last is not None
        cost = max(1.0, growth) * self._last.cpu_seconds
        self._due_at = self._last.began_at + cost / IDLE_CENSUS_SHARE
        return now < self._due_at

    def answers_status(self, now: float) -> bool:
        """Whether the last census is recent enough for an operator who asks for `status`."""
        if self._last is None:
            return False
        oldest = max(FRESH_SECONDS, self._last.cpu_seconds / ASKED_SHARE)
        return now - self._last.began_at < oldest

    def is_expensive(self) -> bool:
        """Whether a census is only taken for `status` if counts may have changed."""
        return self._last is not None and self._last.cpu_seconds >= EXPENSIVE_CENSUS_SECONDS

    def refreshes_metrics(self, need: Need, now: float, *, reloading: bool) -> bool:
        """Whether a scrape may hasten a census: nothing else does, and the rate allows it."""
        if self._last is None or reloading or need is not Need.NUMBERS:
            return False
        return now >= self._tried_at + pause(self._last.cpu_seconds, Need.WAITED_FOR)


def pause(cpu_seconds: float, need: Need) -> float:
    """Return the seconds from one census, which cost `cpu_seconds`, to the next."""
    match need:
        case Need.DECIDES:
            return CENSUS_SECONDS
        case Need.WAITED_FOR:
            return max(CENSUS_SECONDS, cpu_seconds / CENSUS_SHARE)
        case Need.NUMBERS:
            return max(IDLE_CENSUS_SECONDS, cpu_seconds / IDLE_CENSUS_SHARE)
