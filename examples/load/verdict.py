"""From what the storm noted and when cutovers happened: how many were lost, how many misrouted."""

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

    Those that are answered after `begun` may: the supervisor may be held up between the system call
    and the look at the clock, for longer than a connection takes.
    """

    at: float
    generation: int
    begun: float

    @classmethod
    def from_verdict(cls, document: Mapping[str, Any]) -> Self:
        """From what `wssctl reload --json` says."""
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
    """The first of those that were misrouted."""

    def __str__(self) -> str:
        return (
            f"{self.total} connections, {self.rate:.0f}/s, lost {self.lost}, "
            f"misrouted {self.misrouted}; answered after {self.median * 1000:.1f} ms (median), "
            f"{self.p99 * 1000:.1f} ms (p99), {self.slowest * 1000:.0f} ms (slowest)"
            + (f"; {self.reasons}" if self.reasons else "")
            + "".join(f"\n  {stray}" for stray in self.strays)
        )


def misrouted(notes: Sequence[Note], cutovers: Sequence[Cutover]) -> list[Note]:
    """Those that began after a cutover and were answered neither by its generation nor by one that
    began to take over before the answer came; a roll back is a cutover to a lower number.
    """
    ordered = sorted(cutovers, key=lambda cutover: cutover.at)
    instants = [cutover.at for cutover in ordered]
    found = []
    for note in notes:
        # The reload's stamp is taken just after the setsockopt: what began at it is after it.
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
