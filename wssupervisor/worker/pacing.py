"""When each connection is closed, so that clients reconnect over a span and not all at once.

Pure: random numbers are passed in.
"""

from collections.abc import Callable, Sequence


def turns(count: int, over: float, chance: Callable[[], float]) -> list[float]:
    """Return seconds from now for each of `count` closes, ascending: evenly spread, with jitter.

    `chance` returns numbers from 0 to 1. The time is cut into `count` parts, and each close falls
    at a random place in its part. So no second has more than one close above its share, and two
    workers that begin at the same instant do not close in step.
    """
    return [(turn + chance()) * over / count for turn in range(count)]


def idle_first(active_at: Sequence[float]) -> list[int]:
    """Return positions in the order of closing: the longest idle (by last activity) first."""
    return sorted(range(len(active_at)), key=lambda at: active_at[at])
