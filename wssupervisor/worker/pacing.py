"""When each connection is closed, so that those who come back come as a slope, not as a wall.

Pure: what varies from run to run is passed in.
"""

from collections.abc import Callable, Sequence


def turns(count: int, over: float, chance: Callable[[], float]) -> list[float]:
    """Seconds from now for each of `count` closes, ascending: even, with jitter.

    `chance` gives numbers from 0 to 1. The time is cut into as many parts as there are closes, and
    each close falls somewhere into its part. So no second ever sees more than one above its share,
    and two workers that begin in the same instant still do not close in step.
    """
    return [(turn + chance()) * over / count for turn in range(count)]


def idle_first(active_at: Sequence[float]) -> list[int]:
    """Positions in the order of closing: whose last activity (an instant) is longest ago first."""
    return sorted(range(len(active_at)), key=lambda at: active_at[at])
