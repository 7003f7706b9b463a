"""Count lost and misrouted connections, from the notes of a storm and the times of cutovers."""

import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from examples.load.storm import Note

STRAYS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Cutover:
    """Connections that begin after `at` (CLOCK_MONOTONIC) belong to `generation`.

    Connections that are answered after `begun` may belong to it: the supervisor may be delayed
    between the system call and reading the clock, for longer than a connection takes.
    """

    at: float
    generation: int
    begun: float

    @classmethod
    def from_verdict(cls, document: Mapping[str, Any]) -> Self:
        """From the output of `wssctl reload --json`."""
        return cls(
            float(document["cutover_monotonic"]),
            int(document["generation"]),
            float(document["cutover_begun_monotonic"]),
        )


@dataclass(frozen=True, slots=True)
class StormVerdict:
    total: int
    lost: int
    misrouted: int
    reasons: dict[str, int]
    rate: float
    median: float
    p99: float
    slowest: float
    strays: tuple[Note, ...] = ()
    """The first of the misrouted connections."""

    def __str__(self) -> str:
        return (
            f"{self.total} connections, {self.rate:.0f}/s, lost {self.lost}, "
            f"misrouted {self.misrouted}; answered after {self.median * 1000:.1f} ms (median), "
            f"{self.p99 * 1000:.1f} ms (p99), {self.slowest * 1000:.0f} ms (slowest)"
            + (f"; {self.reasons}" if self.reasons else "")
            + "".join(f"\n  {stray}" for stray in self.strays)
        )


def misrouted(notes: Sequence[Note], cutovers: Sequence[Cutover]) -> list[Note]:
    """Return the connections that a wrong generation answered.

    A connection that begins after a cutover must be answered by its generation, or by one whose
    cutover began before the answer. A rollback is a cutover to a lower number.
    """
    ordered = sorted(cutovers, key=lambda cutover: cutover.at)
    instants = [cutover.at for cutover in ordered]
    found = []
    for note in notes:
        # A reload reads its time just after the setsockopt: a connection at that time is later.
        passed = bisect.bisect_right(instants, note.start)
        until = bisect.bisect_right(instants, note.end)
        while until < len(ordered) and ordered[until].begun <= note.end:
            until += 1
        allowed = {cutover.generation for cutover in ordered[max(0, passed - 1) : until]}
        if passed and not note.error and note.generation not in allowed:
            found.append(note)
    return found


def judge(notes: Sequence[Note], cutovers: Sequence[Cutover] = ()) -> StormVerdict:
    if not notes:
        return StormVerdict(0, 0, 0, {}, 0.0, 0.0, 0.0, 0.0)
    reasons = Counter(note.error for note in notes if note.error)
    took = sorted(note.end - note.start for note in notes if not note.error) or [0.0]
    strays = misrouted(notes, cutovers)
    seconds = max(note.end for note in notes) - min(note.start for note in notes)
    return StormVerdict(
        total=len(notes),
        lost=reasons.total(),
        misrouted=len(strays),
        reasons=dict(reasons),
        rate=len(notes) / max(seconds, 0.001),
        median=took[len(took) // 2],
        p99=took[len(took) * 99 // 100],
        slowest=took[-1],
        strays=tuple(strays[:STRAYS_SHOWN]),
    )
