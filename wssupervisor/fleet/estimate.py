"""Estimates when a drain will be over, from how fast its connections have closed so far."""

import math
from dataclasses import dataclass

LEFT_MIN = 10
SECONDS_MIN = 30.0
"""The minimum of closed connections, and of time, for an estimate."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """`half_life`: seconds until half of the connections have closed; `empty_in`: until all."""

    half_life: float
    empty_in: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no estimate, as text."""

    reason: str


def emptying(at_start: int, left: int, seconds: float) -> Estimate | Unknown:
    """Estimate a drain with `at_start` connections that has `left` connections after `seconds`.

    Connections close in proportion to their number: an exponential decay through the two counts.
    The drain is over when less than half a connection is expected to be left.
    """
    gone = at_start - left
    if left == 0:
        return Estimate(0.0, 0.0)
    if gone < LEFT_MIN or seconds < SECONDS_MIN:
        few = f"{gone} of {at_start} have closed in {seconds:.0f} s"
        return Unknown(f"{few}; an estimate needs {LEFT_MIN}, in {SECONDS_MIN:.0f} s or more")
    half_life = seconds * math.log(2) / math.log(at_start / left)
    return Estimate(half_life, half_life * math.log2(2 * left))
