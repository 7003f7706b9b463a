"""The results of the rounds of one side, and their figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from examples.load.storm import Note
from tests.bench.figures import Connects, Side
from tests.bench.measure import Around, Echoes
from tests.bench.numbers import latencies_ms, median, percentile


@dataclass(slots=True)
class Rounds:
    echoes: list[Echoes] = field(default_factory=list)
    connects: list[Around] = field(default_factory=list)

    def side(self, broken: int) -> Side:
        return Side(
            median(one.per_second for one in self.echoes),
            median(one.cpu_us for one in self.echoes),
            Connects(
                self._percentile(50, lambda one: one.before),
                self._percentile(99, lambda one: one.before),
                self._percentile(50, lambda one: one.after),
                self._percentile(99, lambda one: one.after),
                sum(one.failed for one in self.connects),
            ),
            broken,
        )

    def p99_ratio(self) -> float | None:
        """Return the ratio of after to before the event, in the same round; the median."""
        return p99_ratio((one.after, one.before) for one in self.connects)

    def _percentile(self, percent: int, pick: Callable[[Around], list[Note]]) -> float | None:
        found = (percentile(latencies_ms(pick(one)), percent) for one in self.connects)
        return median(one for one in found if one is not None)


def p99_ratio(pairs: Iterable[tuple[list[Note], list[Note]]]) -> float | None:
    found = []
    for above, below in pairs:
        one = percentile(latencies_ms(above), 99)
        other = percentile(latencies_ms(below), 99)
        if one is not None and other:
            found.append(one / other)
    return median(found)
