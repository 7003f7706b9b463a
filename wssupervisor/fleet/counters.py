"""What has happened so far, in numbers for monitoring: each is taken from a note, in one place."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from wssupervisor.fleet.notes import Note, NoteKind

RELOAD_BOUNDS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
START_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
DRAIN_BOUNDS = (10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0, 604800.0)
LAG_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
"""Upper bounds of histograms, in seconds."""
CAUSES = (
    "requested",
    "killed",
    "replaced",
    "never-ready",
    "not-started",
    "exit-zero",
    "exit-status",
    "sigkill",
    "signal",
    "unknown",
)
"""Causes of a worker's end; see `causes.cause`."""
ATTEMPTS = ("reload", "rollback")
VERDICTS = ("succeeded", "failed", "refused")


@dataclass(slots=True)
class Histogram:
    """`counts`: observations in each bucket; the last one counts those above all bounds."""

    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def observe(self, bounds: Sequence[float], seconds: float) -> None:
        if len(self.counts) != len(bounds) + 1:  # new, or an older program had other bounds
            self.counts = [0] * (len(bounds) + 1)
            self.total = 0.0
        self.counts[bisect_left(bounds, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Counters:
    """Totals since the instance started, kept over upgrades and deaths of its supervisor.

    `reloads` by attempt and verdict, as "reload failed"; `exits` by cause.
    """

    notes: dict[str, int] = field(default_factory=dict)
    """Number of notes of each kind that has a metric."""
    reloads: dict[str, int] = field(default_factory=dict)
    reload_seconds: Histogram = field(default_factory=Histogram)
    exits: dict[str, int] = field(default_factory=dict)
    start_seconds: Histogram = field(default_factory=Histogram)
    drains_over: int = 0
    drains_undone: int = 0
    drain_seconds: Histogram = field(default_factory=Histogram)
    drained: int = 0
    """Connections of old generations that their clients or servers closed."""
    forced: int = 0
    """Connections closed because a limit or an operator ended their worker."""
    lost: int = 0
    """Connections of workers that ended unasked."""

    def of(self, kind: NoteKind) -> int:
        """Return the number of notes of a kind that has a metric."""
        return self.notes.get(kind.value, 0)

    def take_in(self, note: Note) -> None:
        if note.kind.metric is not None:
            self.notes[note.kind.value] = self.of(note.kind) + 1
        match note.kind:
            case NoteKind.CUTOVER:
                self._reload(note, "succeeded")
                # A new generation's number is higher than any other's: this one drained.
                self.drains_undone += _number(note, "generation") < _number(note, "replaced")
            case NoteKind.RELOAD_FAILED:
                self._reload(note, "failed")
            case NoteKind.RELOAD_REFUSED:
                self._reload(note, "refused")
            case NoteKind.WORKER_READY:
                self.start_seconds.observe(START_BOUNDS, _number(note, "seconds"))
            case NoteKind.WORKER_EXITED:
                self._exited(note)
            case NoteKind.GENERATION_RETIRED:
                self._drained(note)

    def _reload(self, note: Note, verdict: str) -> None:
        key = f"{note.fields['attempt']} {verdict}"
        self.reloads[key] = self.reloads.get(key, 0) + 1
        if verdict != "refused":
            self.reload_seconds.observe(RELOAD_BOUNDS, _number(note, "seconds"))

    def _exited(self, note: Note) -> None:
        cause = str(note.fields["cause"])
        self.exits[cause] = self.exits.get(cause, 0) + 1
        self.forced += int(_number(note, "forced"))
        if not note.fields["expected"]:
            self.lost += int(_number(note, "connections"))

    def _drained(self, note: Note) -> None:
        self.drains_over += 1
        self.drain_seconds.observe(DRAIN_BOUNDS, _number(note, "seconds"))
        closed = _number(note, "forced") + _number(note, "lost")
        self.drained += max(0, int(_number(note, "connections") - closed))


def _number(note: Note, name: str) -> float:
    value = note.fields[name]
    return value if isinstance(value, int | float) else 0
