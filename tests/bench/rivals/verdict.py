"""Judges the new connections around one reload: failed, misrouted, and how long."""

from collections.abc import Sequence
from dataclasses import dataclass

from examples.load.storm import Note


@dataclass(frozen=True, slots=True)
class ReloadSeen:
    """`begun_at`: the time of the command. All instants are monotonic."""

    notes: Sequence[Note]
    """Notes of the whole window after the command."""
    release: int
    begun_at: float
    returned_at: float
    promised_at: float | None

    @property
    def failed(self) -> int:
        return sum(1 for note in self.notes if note.error)

    def cutover_seconds(self) -> float | None:
        """Return the time until the first connection after which all reached new code."""
        reached = None
        for note in sorted(self.notes, key=lambda note: note.start, reverse=True):
            if note.error or note.generation != self.release:
                break
            reached = note.start
        return None if reached is None else reached - self.begun_at

    def misrouted(self) -> int:
        """Count connections to the old code that began after a promised cutover.

        Without a promise: after the command returned and other connections reached new code.
        """
        since = self.promised_at
        if since is None:
            new = [note.end for note in self.notes if note.generation == self.release]
            since = max(self.returned_at, min(new, default=float("inf")))
        return sum(
            1
            for note in self.notes
            if note.start > since and not note.error and note.generation < self.release
        )
