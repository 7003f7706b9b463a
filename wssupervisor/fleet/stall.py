"""Does an accept queue move?

A queue only gets shorter by `accept()`. So a queue that was never empty and never shorter than at
the look before it has not moved, whatever its length. The kernel tells no more than the length
(TCP_INFO of a listening socket), and this needs no more.
"""

from wssupervisor.fleet.state import SlotWatch

LOST_SIGHT = 1.0
"""Seconds between two looks after which the first one proves nothing (we slept, not the worker)."""


def look(watch: SlotWatch, queued: int, now: float) -> None:
    """Take in one more look at a slot's queue."""
    lost_sight = watch.seen_at is None or now - watch.seen_at > LOST_SIGHT
    if queued == 0:
        watch.stuck_since = None
    elif watch.stuck_since is None or queued < watch.queued or lost_sight:
        watch.stuck_since = now
    watch.queued = queued
    watch.seen_at = now


def stalled(watch: SlotWatch, limit: float, now: float) -> bool:
    """The queue has not moved for `limit` seconds."""
    return watch.stuck_since is not None and now - watch.stuck_since >= limit
