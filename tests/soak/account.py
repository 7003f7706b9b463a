"""Which losses are allowed: those of a process that was killed, at the time of its death."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from examples.load.clients import HeldVerdict
from examples.load.storm import Note
from examples.load.verdict import Cutover, misrouted


@dataclass(slots=True)
class Deeds:
    """The deeds of one round. Instants are CLOCK_MONOTONIC."""

    cutovers: list[Cutover] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    """Pids of workers that were killed, or whose drain was cut short."""


@dataclass(frozen=True, slots=True)
class Account:
    """`owned`: losses of a killed process, at its death. The others should be zero."""

    connections: int
    held: int
    owned: int
    lost: int
    misrouted: int
    broken: int
    wrong: int
    reasons: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (self.lost or self.misrouted or self.broken or self.wrong)

    def __str__(self) -> str:
        owned = f" ({self.owned} by a killed process)" if self.owned else ""
        text = (
            f"{self.connections} connections, lost {self.lost}{owned}, misrouted {self.misrouted};"
            f" {self.held} held, broken {self.broken}, wrong {self.wrong}"
        )
        return f"{text}; {'; '.join(self.reasons[:5])}" if self.reasons else text


def settle(notes: Sequence[Note], held: HeldVerdict, deeds: Deeds) -> Account:
    failed = [note for note in notes if note.error]
    lost = [
        note for note in failed if not any(note.start <= kill <= note.end for kill in deeds.kills)
    ]
    broken = [one for one in held.broken if one.pid not in deeds.ended]
    strayed = misrouted(notes, deeds.cutovers)
    return Account(
        connections=len(notes),
        held=held.count,
        owned=len(failed) - len(lost) + len(held.broken) - len(broken),
        lost=len(lost),
        misrouted=len(strayed),
        broken=len(broken),
        wrong=held.wrong,
        reasons=(
            *(f"lost: {note.error}" for note in lost),
            *(f"misrouted to generation {note.generation}" for note in strayed),
            *(f"broken at {one.pid}: {one.reason}" for one in broken),
        ),
    )
