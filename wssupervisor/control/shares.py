"""Which control clients stay when there are many. Pure, so that each rule is a line of a test.

Every user has a share of the places, so that no user can keep others out. If a share is full, or
all places are taken, the connection that has been idle longest is closed. Root and the daemon's own
user always get in.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CLIENTS_MAX = 64
"""Connections of all users but root and the daemon's own."""
SHARE = 16
"""Connections of one of these users."""
OWNER_SHARE = 64
"""Connections of root or the daemon's own user. Beyond these, idle ones are closed."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A connection. `idle_since`: monotonic; None while a request waits for its answer."""

    uid: int
    is_owner: bool
    idle_since: float | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """`closes`: the position of the seat that is closed in return."""

    admitted: bool
    closes: int | None = None


def admission(new: Seat, seats: Sequence[Seat]) -> Admission:
    """Decide whether a new connection is admitted, and which one is closed for it."""
    own = [at for at, seat in enumerate(seats) if seat.uid == new.uid]
    if len(own) >= (OWNER_SHARE if new.is_owner else SHARE):
        closes = _idle_longest(own, seats)
        return Admission(new.is_owner or closes is not None, closes)
    others = [at for at, seat in enumerate(seats) if not seat.is_owner]
    if new.is_owner or len(others) < CLIENTS_MAX:
        return Admission(admitted=True)
    closes = _idle_longest(_of_the_largest(others, seats), seats)
    return Admission(closes is not None, closes)


def _of_the_largest(places: Iterable[int], seats: Sequence[Seat]) -> list[int]:
    """Return the idle connections of the users with the most connections among those idle."""
    places = list(places)
    have = Counter(seats[at].uid for at in places)
    idle = [at for at in places if seats[at].idle_since is not None]
    most = max((have[seats[at].uid] for at in idle), default=0)
    return [at for at in idle if have[seats[at].uid] == most]


def _idle_longest(places: Iterable[int], seats: Sequence[Seat]) -> int | None:
    idle = [(since, at) for at in places if (since := seats[at].idle_since) is not None]
    return min(idle)[1] if idle else None
