"""What the taker does, as events in and actions out. Pure: no I/O, no clock.

A batch is judged as a whole before it is claimed: what the application does not want is refused
first, and the claim then covers the rest. A refusal that cannot be sent leaves the batch unclaimed,
because refused connections would have no owner (`connection.py` has the owner at each step).

The process reports each event once, and carries actions out in their order.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from wssupervisor.worker.handoff.connection import Connection, Happened, Step
from wssupervisor.worker.handoff.fields import Malformed
from wssupervisor.worker.handoff.messages import BATCH_MAX
from wssupervisor.worker.handoff.taker_events import (
    Action,
    ClaimRead,
    Do,
    Event,
    GiverGone,
    HandlerFailed,
    HandlersBegun,
    Judge,
    Judged,
    LeaveBatch,
    PartHeard,
    ReadClaim,
    RefusalFailed,
    RefusalSent,
    SendRefused,
    SendTaken,
)


@dataclass(slots=True)
class _Batch:
    connections: list[Connection] = field(default_factory=list)
    complete: bool = False
    problem: str = ""
    refused: Mapping[int, str] = field(default_factory=dict)


class Taker:
    """Takes connections from one giver."""

    def __init__(self) -> None:
        self.taken = 0
        self.refused = 0
        self.withdrawn = 0
        """Connections that the giver took back, or that it never offered completely."""
        self._ended = False
        self._batches: dict[int, _Batch] = {}

    @property
    def done(self) -> bool:
        """Whether no further message comes, and no batch is in hand."""
        return self._ended and not self._batches

    def step(self, batch: int, at: int) -> Step | None:
        """Return the step of a connection of a batch in hand; None if there is none."""
        found = self._batches.get(batch)
        known = found is not None and at < len(found.connections)
        return found.connections[at].step if found is not None and known else None

    def handle(self, event: Event) -> list[Action]:
        """Return what the process must do. Raises Impossible if the event cannot be.

        Raises Malformed if the giver breaks the protocol; then nothing has changed.
        """
        return list(self._handle(event))

    def _handle(self, event: Event) -> Iterator[Action]:
        match event:
            case PartHeard(batch=batch):
                yield from self._hear(batch, event)
            case Judged(batch=batch, refused=refused):
                yield from self._judged(batch, self._batches[batch], refused)
            case RefusalSent(batch=batch) | RefusalFailed(batch=batch, gone=True):
                yield ReadClaim(batch)
            case RefusalFailed(batch=batch):
                yield from self._withdraw(batch)
            case ClaimRead(batch=batch, won=True):
                yield from self._won(batch, self._batches[batch])
            case ClaimRead(batch=batch):
                yield from self._withdraw(batch)
            case HandlersBegun(batch=batch):
                arrived = self._batches.pop(batch)
                for at, one in enumerate(arrived.connections):
                    if one.step is Step.ARRIVING:
                        yield from _decide(batch, at, one, Happened.HANDLERS_BEGUN)
            case HandlerFailed(batch=batch, at=at):
                self._batches[batch].connections[at].handle(Happened.FAILED)
            case GiverGone():
                self._ended = True
                for batch in [one for one, it in self._batches.items() if not it.complete]:
                    yield from self._withdraw(batch)

    def _hear(self, batch: int, part: PartHeard) -> Iterator[Action]:
        found = self._batches.setdefault(batch, _Batch())
        if found.complete:
            raise Malformed(f"batch: {batch} was complete, and continues")
        if len(found.connections) + part.count > BATCH_MAX:
            found.problem = f"a batch has at most {BATCH_MAX} connections"
        else:
            offered = (Connection(Step.OFFERED) for _ in range(part.count))
            found.connections.extend(offered)
        found.problem = found.problem or part.problem
        if part.more:
            return
        found.complete = True
        if not found.problem:
            yield Judge(batch, len(found.connections))
            return
        self.refused += len(found.connections)
        yield LeaveBatch(batch, {}, found.problem)
        yield from self._let_go(batch)

    def _judged(self, batch: int, found: _Batch, refused: Mapping[int, str]) -> Iterator[Action]:
        found.refused = refused
        if len(refused) == len(found.connections):
            self.refused += len(refused)
            yield LeaveBatch(batch, refused)
            yield from self._let_go(batch)
        elif refused:
            yield SendRefused(batch, refused)
        else:
            yield ReadClaim(batch)

    def _won(self, batch: int, found: _Batch) -> Iterator[Action]:
        yield SendTaken(batch)
        self.refused += len(found.refused)
        for at, one in enumerate(found.connections):
            if at in found.refused:
                yield from _decide(batch, at, one, Happened.NOT_CLAIMED)
            else:
                self.taken += 1
                yield from _decide(batch, at, one, Happened.CLAIMED)

    def _withdraw(self, batch: int) -> Iterator[Action]:
        self.withdrawn += len(self._batches[batch].connections)
        yield from self._let_go(batch)

    def _let_go(self, batch: int) -> Iterator[Action]:
        """Close the descriptors of a batch that this process does not own."""
        found = self._batches.pop(batch)
        for at, one in enumerate(found.connections):
            yield from _decide(batch, at, one, Happened.NOT_CLAIMED)


def _decide(batch: int, at: int, one: Connection, happened: Happened) -> Iterator[Action]:
    decision = one.handle(happened)
    if decision is not None:
        yield Do(batch, at, decision)
