"""What has happened so far, in numbers for monitoring: each is taken from a note, in one place."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from wssupervisor.fleet.actions import Note, NoteKind

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
"""Of a worker's end; see `worker.cause`."""
ATTEMPTS = ("reload", "rollback")
VERDICTS = ("succeeded", "failed", "refused")


@dataclass(slots=True)
class Histogram:
    """`counts`: how many were in each bucket, with one more for those above all bounds."""

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
    """Since the instance's start, over upgrades and deaths of its supervisor; they only grow.

    `reloads` by attempt and verdict, as "reload failed"; `exits` by cause.
    """

    reloads: dict[str, int] = field(default_factory=dict)
    reload_seconds: Histogram = field(default_factory=Histogram)
    exits: dict[str, int] = field(default_factory=dict)
    spawned: int = 0
    start_seconds: Histogram = field(default_factory=Histogram)
    stalled: int = 0
    unresponsive: int = 0
    drains_begun: int = 0
    drains_over: int = 0
    drains_undone: int = 0
    drain_seconds: Histogram = field(default_factory=Histogram)
    drained: int = 0
    """Connections of old generations that ended by themselves."""
    forced: int = 0
    """Those that were closed because a limit, or somebody, wanted their worker to end."""
    lost: int = 0
    """And those of workers that ended without being told to."""
    steering_failures: int = 0
    recoveries: int = 0
    upgrades: int = 0

    def take_in(self, note: Note) -> None:
        match note.kind:
            case NoteKind.CUTOVER:
                self._reload(note, "succeeded")
                # A new generation's number is higher than any other's: this one drained.
                self.drains_undone += _number(note, "generation") < _number(note, "replaced")
            case NoteKind.RELOAD_FAILED:
                self._reload(note, "failed")
            case NoteKind.RELOAD_REFUSED:
                self._reload(note, "refused")
            case NoteKind.WORKER_SPAWNED:
                self.spawned += 1
            case NoteKind.WORKER_READY:
                self.start_seconds.observe(START_BOUNDS, _number(note, "seconds"))
            case NoteKind.WORKER_STALLED:
                self.stalled += 1
            case NoteKind.WORKER_UNRESPONSIVE:
                self.unresponsive += 1
            case NoteKind.WORKER_EXITED:
                self._exited(note)
            case NoteKind.DRAIN_BEGUN:
                self.drains_begun += 1
            case NoteKind.GENERATION_RETIRED:
                self._drained(note)
            case NoteKind.STEERING_FAILED:
                self.steering_failures += 1
            case NoteKind.RECOVERED:
                self.recoveries += 1
            case NoteKind.REEXECUTED:
                self.upgrades += 1

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
