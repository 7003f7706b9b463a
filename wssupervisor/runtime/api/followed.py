"""The events of the history as they come, for a client that follows them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from wssupervisor.control.documents import Event
from wssupervisor.runtime.history.history import History

WAITING_MAX = 1000
"""At most this many events wait for one client; further events are dropped."""

Events = asyncio.Queue[Event]


@contextmanager
def followed(history: History) -> Iterator[Events]:
    """A queue of each event from now on."""
    events: Events = asyncio.Queue(WAITING_MAX)

    def offer(event: Event) -> None:
        if not events.full():
            events.put_nowait(event)

    unfollow = history.follow(offer)
    try:
        yield events
    finally:
        unfollow()
