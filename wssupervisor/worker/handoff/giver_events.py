"""What happens to a giver, and what it does: the events and actions of `giving.py`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from wssupervisor.worker.handoff.connection import Decision

# -- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greeted:
    """The taker's hello was heard."""

    room: int


@dataclass(frozen=True, slots=True)
class Chosen:
    """Connections at a safe point, by numbers of the process. `together`: they go in one piece."""

    keys: tuple[int, ...]
    together: bool = False


@dataclass(frozen=True, slots=True)
class HandlerReturned:
    """An ended handler has returned. `frozen`: its connection's state was taken and it can move."""

    key: int
    frozen: bool


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """An ended handler has raised an error of its own: its connection closes here."""

    key: int


@dataclass(frozen=True, slots=True)
class SendFailed:
    batch: int
    why: str


@dataclass(frozen=True, slots=True)
class RefusedHeard:
    """`which`: positions in the batch. Empty: the whole batch."""

    batch: int
    which: Mapping[int, str]
    why: str = ""


@dataclass(frozen=True, slots=True)
class TakenHeard:
    batch: int


@dataclass(frozen=True, slots=True)
class ClaimRead:
    """`won`: the giver has read the claim before the taker."""

    batch: int
    won: bool


@dataclass(frozen=True, slots=True)
class TakerGone:
    """Everything that the taker sent was read, and its end is closed. Or it breaks the protocol."""

    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Give nothing more. What was not sent returns; what is in flight is claimed or taken back."""

    why: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Choose nothing more. What was chosen still moves."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """It is `Giver.deadline()` or later."""


Event = (
    Greeted
    | Chosen
    | HandlerReturned
    | HandlerFailed
    | SendFailed
    | RefusedHeard
    | TakenHeard
    | ClaimRead
    | TakerGone
    | Stop
    | Finish
    | TimePassed
)


# -- actions --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out a decision about one connection."""

    key: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class SendBatch:
    """Send these connections, with a new claim, in as many messages as they need."""

    batch: int
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ReadClaim:
    batch: int


@dataclass(frozen=True, slots=True)
class SendDone:
    """Nothing more is in hand. The giver is finished."""


Action = Do | SendBatch | ReadClaim | SendDone
