"""Medians and percentiles."""

import statistics
from collections.abc import Iterable, Sequence

from examples.load.storm import Note

MILLI = 1000


def median(values: Iterable[float]) -> float | None:
    """None of nothing: what was not measured has no figure."""
    found = list(values)
    return statistics.median(found) if found else None


def medians(values: Iterable[float | None]) -> float | None:
    return median(value for value in values if value is not None)


def ratios(above: Sequence[float], below: Sequence[float]) -> float | None:
    """The median of the ratios of neighbouring rounds."""
    return median(one / other for one, other in zip(above, below, strict=True) if other)


def ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above is not None and below else None


def percentile(values: Iterable[float], percent: int) -> float | None:
    found = sorted(values)
    return found[min(len(found) * percent // 100, len(found) - 1)] if found else None


def latencies_ms(notes: Iterable[Note]) -> list[float]:
    """From the begin of each connection to its answer."""
    return [(note.end - note.start) * MILLI for note in notes if not note.error]
