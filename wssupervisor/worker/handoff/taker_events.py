"""What happens to a taker, and what it does: the events and actions of `taking.py`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from wssupervisor.worker.handoff.connection import Decision

# -- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartHeard:
    """A message of a batch. `problem`: why no connection of it can be taken; empty if they can."""

    batch: int
    count: int
    more: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """The application has seen the whole batch. `refused`: position in the batch -> reason."""

    batch: int
    refused: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class RefusalSent:
    batch: int


@dataclass(frozen=True, slots=True)
class RefusalFailed:
    """`gone`: the giver has closed its end; else it is not reading."""

    batch: int
    gone: bool


@dataclass(frozen=True, slots=True)
class ClaimRead:
    batch: int
    won: bool


@dataclass(frozen=True, slots=True)
class HandlersBegun:
    """Every handler of the batch waits for its first event, or has failed."""

    batch: int


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """A handler has ended before those of its batch had begun: its connection closes."""

    batch: int
    at: int


@dataclass(frozen=True, slots=True)
class GiverGone:
    """No further message comes: the giver is done, has closed its end, or breaks the protocol."""


Event = (
    PartHeard
    | Judged
    | RefusalSent
    | RefusalFailed
    | ClaimRead
    | HandlersBegun
    | HandlerFailed
    | GiverGone
)


# -- actions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out a decision about the connection at this position of the batch."""

    batch: int
    at: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Judge:
    """Read the states, and let the application judge each connection."""

    batch: int
    count: int


@dataclass(frozen=True, slots=True)
class SendRefused:
    """Refuse connections of a batch that will be claimed, and report whether that was sent."""

    batch: int
    which: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class LeaveBatch:
    """Refuse all of an unclaimed batch. `why`: if there is one reason for all of them."""

    batch: int
    which: Mapping[int, str]
    why: str = ""


@dataclass(frozen=True, slots=True)
class ReadClaim:
    batch: int


@dataclass(frozen=True, slots=True)
class SendTaken:
    """Report the claim to the giver. It may fail without harm."""

    batch: int


Action = Do | Judge | SendRefused | LeaveBatch | ReadClaim | SendTaken
