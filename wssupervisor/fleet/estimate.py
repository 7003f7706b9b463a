"""When a drain will be over, guessed from how fast its connections have left so far."""

import math
from dataclasses import dataclass

LEFT_MIN = 10
SECONDS_MIN = 30.0
"""So many must have left, over so long a time: of less nothing can be concluded."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """`half_life`: seconds in which half of those leave that are there; `empty_in`: to the last."""

    half_life: float
    empty_in: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no estimate, in words."""

    reason: str


def emptying(at_start: int, left: int, seconds: float) -> Estimate | Unknown:
    """Of a drain that had so many connections at its start, and has `left` after so many seconds.

    Connections leave in proportion to how many there are: an exponential decay through the two
    counts. It is empty when less than half a connection is expected to be left.
    """
    gone = at_start - left
    if left == 0:
        return Estimate(0.0, 0.0)
    if gone < LEFT_MIN or seconds < SECONDS_MIN:
        few = f"{gone} of {at_start} have left in {seconds:.0f} s"
        return Unknown(f"{few}; at least {LEFT_MIN} must have left, in {SECONDS_MIN:.0f} s or more")
    half_life = seconds * math.log(2) / math.log(at_start / left)
    return Estimate(half_life, half_life * math.log2(2 * left))
