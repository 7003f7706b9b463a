"""One round of echoes and one round of new connections, the same for every server."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from examples.load.storm import Note
from tests.bench.clients import Target
from tests.bench.cost import Meter, tree

FIRST_ANSWERS = 5
FIRST_WITHIN = 30.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Echoes:
    per_second: float
    cpu_us: float
    """Of the server's processes, the supervisor's included, for one message and its echo."""


def echoes(target: Target, roots: Iterable[int], seconds: float) -> Echoes:
    with target.busy(seconds) as client:
        client.wait_open()
        meter = Meter(tree(roots))
        verdict = client.go()
        spent = meter.read()
    return Echoes(verdict.echoes / verdict.seconds, 1e6 * spent.cpu_seconds / verdict.total)


@dataclass(frozen=True, slots=True)
class Around:
    """New connections by when they began: before an event's begin, within a span after it."""

    begun_at: float
    before: list[Note]
    after: list[Note]
    failed: int


def around(
    target: Target,
    rate: float,
    before_seconds: float,
    after_seconds: float,
    event: Callable[[], Result],
) -> tuple[Around, Result]:
    """A stream of new connections, some way into which the event happens."""
    with target.storm(rate) as storm:
        storm.wait_answered(FIRST_ANSWERS, FIRST_WITHIN)  # the client itself has started
        steady_at = time.monotonic()
        time.sleep(before_seconds)
        begun_at = time.monotonic()
        result = event()
        until = begun_at + after_seconds
        time.sleep(max(0.0, until - time.monotonic()))
        notes = storm.finish()
    found = Around(
        begun_at,
        [note for note in notes if steady_at <= note.start < begun_at],
        [note for note in notes if begun_at <= note.start < until],
        sum(1 for note in notes if note.error),
    )
    return found, result
