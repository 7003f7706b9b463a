"""Medians and percentiles."""

import math
import statistics
from collections.abc import Iterable, Sequence

from examples.load.storm import Note
from tests.bench.figures import Ratio

MILLI = 1000


def median(values: Iterable[float]) -> float | None:
    """None of nothing: what was not measured has no figure."""
    found = list(values)
    return statistics.median(found) if found else None


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio | None:
    """The median of the ratios of neighbouring rounds, and how sure it is."""
    found = sorted(one / other for one, other in zip(above, below, strict=True) if other)
    if not found:
        return None
    # Order statistics: the true median lies between these ranks 19 times of 20.
    reach = 0.98 * math.sqrt(len(found))
    low = max(0, math.floor(len(found) / 2 - reach))
    high = min(len(found) - 1, math.ceil(len(found) / 2 + reach))
    return Ratio(statistics.median(found), found[low], found[high])


def percentile(values: Iterable[float], percent: int) -> float | None:
    found = sorted(values)
    return found[min(len(found) * percent // 100, len(found) - 1)] if found else None


def latencies_ms(notes: Iterable[Note]) -> list[float]:
    """From the begin of each connection to its answer."""
    return [(note.end - note.start) * MILLI for note in notes if not note.error]
