"""One connection on its way: its step in this process, and what the process must do at each event.

Two processes have a descriptor of the same socket. At each instant exactly one owns the connection:

| step, in the giver | owner | reads | writes | it leaves the step |
|---|---|---|---|---|
| OPEN | giver | giver | giver | at a safe point that the giver chooses |
| ENDING | giver | - | giver, until its handler has returned | when the handler has returned |
| FROZEN | giver | - | - | taken, or returned |
| GONE | taker | - | - | - |

| step, in the taker | owner | reads | writes | it leaves the step |
|---|---|---|---|---|
| OFFERED | giver | - | - | when the claim is read, by either process |
| ARRIVING | taker | - | taker | when its handler has begun, and those of its batch |
| OPEN | taker | taker | taker | as above: the taker may give it to another process |

Ownership passes in one system call: the taker's read of the claim (`claim.py`), which the giver
learns later. From FROZEN a connection therefore only returns after the giver itself has read the
claim, or the taker has refused the connection before its own read.

A handler that was ended is called again: in the taker if it claimed the connection, else here, even
if the client has gone. Then its first receive raises. Pure, no I/O.
"""

from dataclasses import dataclass
from enum import Enum, auto


class Step(Enum):
    """The table above. CLOSED: it ended in this process, as any connection does."""

    OFFERED = auto()
    ARRIVING = auto()
    OPEN = auto()
    ENDING = auto()
    FROZEN = auto()
    GONE = auto()
    CLOSED = auto()


class Happened(Enum):
    """What happens to a connection."""

    CLAIMED = auto()
    """The taker has read the claim: in the taker."""
    NOT_CLAIMED = auto()
    """The taker leaves it to the giver, or the giver has read the claim: in the taker."""
    HANDLERS_BEGUN = auto()
    """Its handler, and those of its whole batch, wait for their first event."""
    CHOSEN = auto()
    """It is at a safe point and will be given."""
    OVERDUE = auto()
    """Its handler has not returned within its time."""
    FROZEN = auto()
    """Its handler has returned, and its state was taken."""
    UNMOVABLE = auto()
    """Its handler has returned, but the connection cannot move after all."""
    FAILED = auto()
    """Its handler has raised an error of its own, or returned because of the client."""
    TAKEN = auto()
    """The taker owns it: in the giver."""
    RETURNED = auto()
    """The taker never will: in the giver."""


class Decision(Enum):
    """What the process does now."""

    CALL_HANDLER = auto()
    """Call the handler, as for a resumed connection. Whatever arrives is held back until then."""
    START_READING = auto()
    END_HANDLER = auto()
    """Stop reading, and interrupt the handler where it waits. It may still send."""
    CANCEL_HANDLER = auto()
    THAW = auto()
    """Allow writing and reading again, then call the handler."""
    LET_GO = auto()
    """Close our descriptor, without a byte to the client and without a shutdown."""


S, H, D = Step, Happened, Decision
TRANSITIONS: dict[tuple[Step, Happened], tuple[Step, Decision | None]] = {
    (S.OFFERED, H.CLAIMED): (S.ARRIVING, D.CALL_HANDLER),
    (S.OFFERED, H.NOT_CLAIMED): (S.GONE, D.LET_GO),
    (S.ARRIVING, H.HANDLERS_BEGUN): (S.OPEN, D.START_READING),
    (S.ARRIVING, H.FAILED): (S.CLOSED, None),
    (S.OPEN, H.CHOSEN): (S.ENDING, D.END_HANDLER),
    (S.OPEN, H.FAILED): (S.CLOSED, None),
    (S.ENDING, H.OVERDUE): (S.ENDING, D.CANCEL_HANDLER),
    (S.ENDING, H.FROZEN): (S.FROZEN, None),
    (S.ENDING, H.UNMOVABLE): (S.OPEN, D.THAW),
    (S.ENDING, H.FAILED): (S.CLOSED, None),
    (S.FROZEN, H.TAKEN): (S.GONE, D.LET_GO),
    (S.FROZEN, H.RETURNED): (S.OPEN, D.THAW),
}
"""Anything else is impossible, and an error of this library."""
OWNED = frozenset({S.ARRIVING, S.OPEN, S.ENDING, S.FROZEN})
READS = frozenset({S.OPEN})
WRITES = frozenset({S.ARRIVING, S.OPEN, S.ENDING})


class Impossible(RuntimeError):
    """A connection was used in a step that does not allow it."""


@dataclass(slots=True)
class Connection:
    """The step of one connection in this process."""

    step: Step = Step.OPEN

    @property
    def owned(self) -> bool:
        """Whether this process owns it, as far as it knows: FROZEN and sent, the claim decides."""
        return self.step in OWNED

    @property
    def reads(self) -> bool:
        """Whether this process may read from the client."""
        return self.step in READS

    @property
    def writes(self) -> bool:
        """Whether this process may write to the client."""
        return self.step in WRITES

    def handle(self, happened: Happened) -> Decision | None:
        """Take the step, and return what the process must do now. Raises Impossible."""
        try:
            self.step, decision = TRANSITIONS[self.step, happened]
        except KeyError:
            step, what = self.step.name.lower(), happened.name.lower()
            raise Impossible(f"a connection that is {step} cannot be {what}") from None
        return decision
