"""From what the storm noted and when cutovers happened: how many were lost, how many misrouted."""

import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from examples.load.storm import Note


@dataclass(frozen=True, slots=True)
class Cutover:
    """Connections that begin after `at` (CLOCK_MONOTONIC) belong to `generation`."""

    at: float
    generation: int


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

    def __str__(self) -> str:
        return (
            f"{self.total} connections, {self.rate:.0f}/s, lost {self.lost}, "
            f"misrouted {self.misrouted}; answered after {self.median * 1000:.1f} ms (median), "
            f"{self.p99 * 1000:.1f} ms (p99), {self.slowest * 1000:.0f} ms (slowest)"
            + (f"; {self.reasons}" if self.reasons else "")
        )


def misrouted(notes: Sequence[Note], cutovers: Sequence[Cutover]) -> list[Note]:
    """Those that began after a cutover and were answered neither by its generation nor by one that
    took over before the answer came; a roll back is a cutover to a lower number.
    """
    ordered = sorted(cutovers, key=lambda cutover: cutover.at)
    instants = [cutover.at for cutover in ordered]
    found = []
    for note in notes:
        # The reload's stamp is taken just after the setsockopt: what began at it is after it.
        passed = bisect.bisect_right(instants, note.start)
        until = bisect.bisect_right(instants, note.end)
        allowed = {cutover.generation for cutover in ordered[max(0, passed - 1) : until]}
        if passed and not note.error and note.generation not in allowed:
            found.append(note)
    return found


def judge(notes: Sequence[Note], cutovers: Sequence[Cutover] = ()) -> StormVerdict:
    if not notes:
        return StormVerdict(0, 0, 0, {}, 0.0, 0.0, 0.0, 0.0)
    reasons = Counter(note.error for note in notes if note.error)
    took = sorted(note.end - note.start for note in notes if not note.error) or [0.0]
    seconds = max(note.end for note in notes) - min(note.start for note in notes)
    return StormVerdict(
        total=len(notes),
        lost=reasons.total(),
        misrouted=len(misrouted(notes, cutovers)),
        reasons=dict(reasons),
        rate=len(notes) / max(seconds, 0.001),
        median=took[len(took) // 2],
        p99=took[len(took) * 99 // 100],
        slowest=took[-1],
    )
