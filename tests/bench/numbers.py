"""Medians and percentiles."""

import math
import statistics
from collections.abc import Iterable, Sequence

from examples.load.storm import Note
from tests.bench.figures import Ratio

MILLI = 1000


def median(values: Iterable[float]) -> float | None:
    """Return the median; None without values."""
    found = list(values)
    return statistics.median(found) if found else None


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio | None:
    """Return the median of the ratios of neighbouring rounds, with its confidence interval."""
    found = sorted(one / other for one, other in zip(above, below, strict=True) if other)
    if not found:
        return None
    # Order statistics: the true median lies between these ranks with 95% confidence.
    reach = 0.98 * math.sqrt(len(found))
    low = max(0, math.floor(len(found) / 2 - reach))
    high = min(len(found) - 1, math.ceil(len(found) / 2 + reach))
    return Ratio(statistics.median(found), found[low], found[high])


def percentile(values: Iterable[float], percent: int) -> float | None:
    found = sorted(values)
    return found[min(len(found) * percent // 100, len(found) - 1)] if found else None


def latencies_ms(notes: Iterable[Note]) -> list[float]:
    """Return the time from the start of each connection to its answer."""
    return [(note.end - note.start) * MILLI for note in notes if not note.error]
