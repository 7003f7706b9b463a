"""What the giver does, as events in and actions out. Pure: no I/O, no clock.

The process chooses connections that are at a safe point, at most `Giver.wanted()`. Their handlers
are ended; those that return in time are frozen and sent as one batch. A batch is settled by its
claim alone: whenever the giver learns something about the batch, it reads the claim, and what it
wins returns. So a taker that dies, hangs or reports nonsense costs no connection
(`connection.py` has the owner at each step).

The process reports each event once, and carries actions out in their order. If `SendBatch` fails,
it reports `SendFailed`. After `ReadClaim`, if the claim is lost, it reads every message that is
queued and then reports `ClaimRead`: a refusal that was sent before the taker's claim must be known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from wssupervisor.worker.handoff.connection import Connection, Happened, Step
from wssupervisor.worker.handoff.giver_events import (
    Action,
    Chosen,
    ClaimRead,
    Do,
    Event,
    Finish,
    Greeted,
    HandlerFailed,
    HandlerReturned,
    ReadClaim,
    RefusedHeard,
    SendBatch,
    SendDone,
    SendFailed,
    Stop,
    TakenHeard,
    TakerGone,
    TimePassed,
)
from wssupervisor.worker.handoff.messages import BATCH_MAX

BATCH_SIZE = 32
"""Connections chosen at once, if no group is larger. Small batches make short pauses."""
BATCHES_MAX = 2
"""Batches that are gathered or in flight at once."""
PUT_ASIDE_AFTER = 0.05
"""Seconds after which a batch leaves without the handlers that have not returned."""
ENDS_WITHIN = 2.0
"""Seconds after which a handler that has not returned is cancelled."""
CANCELLED_WITHIN = 0.1
"""Seconds that a group waits for its cancelled handlers."""
CLAIMED_WITHIN = 1.0
"""Seconds after which the giver takes a batch back."""


@dataclass(slots=True)
class _Gathering:
    """Connections whose handlers are being ended, for one batch."""

    keys: tuple[int, ...]
    together: bool
    until: float
    cancelled: bool = False


@dataclass(slots=True)
class _Flight:
    keys: tuple[int, ...]
    until: float
    refused: set[int] = field(default_factory=set)
    asked: bool = False
    """Whether its claim is being read."""


class Giver:
    """Gives connections to one taker, at most `limit` of them."""

    def __init__(self, limit: int = BATCH_MAX, *, batch_size: int = BATCH_SIZE) -> None:
        self.moved = 0
        self.returned = 0
        self.stopped: str | None = None
        """Why nothing more is given; None until then."""
        self.done = False
        """Whether nothing is in hand and nothing more will be."""
        self._limit = limit
        self._batch_size = batch_size
        self._room: int | None = None
        self._finishing = False
        self._connections: dict[int, Connection] = {}
        self._gatherings: list[_Gathering] = []
        self._slow: dict[int, float] = {}
        """Connections whose handlers return late -> when they are cancelled (inf: they were)."""
        self._flights: dict[int, _Flight] = {}
        self._last_batch = 0

    @property
    def room(self) -> int:
        """Connections that the taker can still hold: a group may be chosen up to this size."""
        return max(0, (self._room or 0) - self.moved - len(self._connections))

    def wanted(self) -> int:
        """Return how many connections may be chosen now."""
        busy = len(self._gatherings) + len(self._flights) >= BATCHES_MAX
        if busy or self._finishing or self.stopped is not None:
            return 0
        left = self._limit - self.moved - len(self._connections)
        return max(0, min(self._batch_size, left, self.room))

    def deadline(self) -> float:
        """Return when `TimePassed` is due; inf if nothing waits for a time."""
        times = [one.until for one in self._gatherings]
        times += [one.until for one in self._flights.values() if not one.asked]
        return min([*times, *self._slow.values()], default=inf)

    def step(self, key: int) -> Step:
        """Return the step of a connection; OPEN if it is not in hand."""
        connection = self._connections.get(key)
        return Step.OPEN if connection is None else connection.step

    def handle(self, event: Event, now: float) -> list[Action]:
        """Return what the process must do. Raises Impossible if the event cannot be."""
        actions = list(self._handle(event, now))
        if not self.done and self._is_idle():
            self.done = True
            actions.append(SendDone())
        return actions

    def _is_idle(self) -> bool:
        return (self._finishing or self.stopped is not None) and not self._connections

    def _handle(self, event: Event, now: float) -> Iterator[Action]:
        match event:
            case Greeted(room=room):
                self._room = room
            case Chosen(keys=keys, together=together):
                yield from self._choose(keys, now, together=together)
            case HandlerReturned(key=key, frozen=frozen):
                yield from self._returned(key, now, frozen=frozen)
            case HandlerFailed(key=key):
                self._connections[key].handle(Happened.FAILED)
                self._forget(key)
                yield from self._send_complete(now)
            case SendFailed(batch=batch, why=why):
                yield from self._stop(why, now)
                yield from self._ask(batch)
            case RefusedHeard():
                yield from self._refused(event, now)
            case TakenHeard(batch=batch):
                yield from self._ask(batch)
            case ClaimRead(batch=batch, won=won):
                yield from self._settle(self._flights.pop(batch), now, won=won)
            case TakerGone(why=why):
                yield from self._stop(why, now)
                for batch in self._flights:
                    yield from self._ask(batch)
            case Stop(why=why):
                yield from self._stop(why, now)
            case Finish():
                self._finishing = True
            case TimePassed():
                yield from self._time_passed(now)

    # -- gathering --------------------------------------------------------------------------------

    def _choose(self, keys: tuple[int, ...], now: float, *, together: bool) -> Iterator[Action]:
        assert 0 < len(keys) <= (self.room if together else self.wanted())
        until = now + (ENDS_WITHIN if together else PUT_ASIDE_AFTER)
        self._gatherings.append(_Gathering(keys, together, until))
        for key in keys:
            self._connections[key] = Connection()
            yield from self._decide(key, Happened.CHOSEN)

    def _decide(self, key: int, happened: Happened) -> Iterator[Action]:
        decision = self._connections[key].handle(happened)
        if decision is not None:
            yield Do(key, decision)

    def _returned(self, key: int, now: float, *, frozen: bool) -> Iterator[Action]:
        yield from self._decide(key, Happened.FROZEN if frozen else Happened.UNMOVABLE)
        if not frozen:
            self.returned += 1
            self._forget(key)
        elif self.stopped is not None:
            yield from self._bring_back(key)
        elif self._slow.pop(key, None) is not None:
            yield self._send((key,), now)
        yield from self._send_complete(now)

    def _send_complete(self, now: float) -> Iterator[Action]:
        """Send the gatherings in which no handler is awaited any longer."""
        for one in list(self._gatherings):
            if all(self._connections[key].step is Step.FROZEN for key in one.keys):
                self._gatherings.remove(one)
                if one.keys:
                    yield self._send(one.keys, now)

    def _send(self, keys: tuple[int, ...], now: float) -> Action:
        self._last_batch += 1
        self._flights[self._last_batch] = _Flight(keys, now + CLAIMED_WITHIN)
        return SendBatch(self._last_batch, keys)

    def _bring_back(self, key: int) -> Iterator[Action]:
        yield from self._decide(key, Happened.RETURNED)
        self.returned += 1
        self._forget(key)

    def _forget(self, key: int) -> None:
        """Drop a connection that is no longer in hand."""
        del self._connections[key]
        self._slow.pop(key, None)
        self._leave_gathering(key)

    def _leave_gathering(self, key: int) -> None:
        for one in self._gatherings:
            if key in one.keys:
                one.keys = tuple(other for other in one.keys if other != key)

    # -- settling ---------------------------------------------------------------------------------

    def _refused(self, event: RefusedHeard, now: float) -> Iterator[Action]:
        flight = self._flights.get(event.batch)
        if flight is None:
            return  # settled
        flight.refused.update(at for at in event.which if at < len(flight.keys))
        if not event.which:
            yield from self._stop(f"refused by the taker: {event.why}", now)
        if not event.which or flight.refused >= set(range(len(flight.keys))):
            yield from self._ask(event.batch)

    def _ask(self, batch: int) -> Iterator[Action]:
        """Read the claim, once: it is news no longer if the batch is settled."""
        flight = self._flights.get(batch)
        if flight is not None and not flight.asked:
            flight.asked = True
            yield ReadClaim(batch)

    def _settle(self, flight: _Flight, now: float, *, won: bool) -> Iterator[Action]:
        for at, key in enumerate(flight.keys):
            if won or at in flight.refused:
                yield from self._bring_back(key)
            else:
                yield from self._decide(key, Happened.TAKEN)
                self.moved += 1
                self._forget(key)
        if won and len(flight.refused) < len(flight.keys):
            yield from self._stop("the taker did not claim a batch in time", now)

    def _stop(self, why: str, now: float) -> Iterator[Action]:
        if self.stopped is not None:
            return
        self.stopped = why
        gathered = [key for one in self._gatherings for key in one.keys]
        cancelled = {key for one in self._gatherings if one.cancelled for key in one.keys}
        self._gatherings.clear()
        for key in gathered:
            if self._connections[key].step is Step.FROZEN:
                yield from self._bring_back(key)
            else:
                self._slow[key] = inf if key in cancelled else now + ENDS_WITHIN

    # -- time -------------------------------------------------------------------------------------

    def _time_passed(self, now: float) -> Iterator[Action]:
        for one in list(self._gatherings):
            if one.until <= now:
                yield from self._hurry(one, now)
        yield from self._send_complete(now)
        for key, until in list(self._slow.items()):
            if until <= now:
                self._slow[key] = inf
                yield from self._decide(key, Happened.OVERDUE)
        for batch, flight in list(self._flights.items()):
            if flight.until <= now:
                yield from self._ask(batch)

    def _hurry(self, one: _Gathering, now: float) -> Iterator[Action]:
        """Put slow handlers aside. A group first waits longer, and then has them cancelled."""
        slow = [key for key in one.keys if self._connections[key].step is Step.ENDING]
        if one.together and not one.cancelled:
            one.cancelled, one.until = True, now + CANCELLED_WITHIN
            for key in slow:
                yield from self._decide(key, Happened.OVERDUE)
            return
        for key in slow:
            self._leave_gathering(key)
            self._slow[key] = inf if one.cancelled else now - PUT_ASIDE_AFTER + ENDS_WITHIN
