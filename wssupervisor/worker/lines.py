"""Cuts the channel's stream into lines, each with its descriptors. Pure, no I/O.

The kernel returns descriptors together with the first byte that was sent with them, and no byte of
a later send in the same read. So the descriptors of a piece belong to the last line that has begun
in it, if each send has one line
(docs/internals/platform.md#a-stream-between-two-processes).
"""

from collections.abc import Sequence
from dataclasses import dataclass

LINE_BYTES = 16 * 1024
"""The longest line, without its newline."""
DESCRIPTORS_MAX = 8
"""With one line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its newline. One that is too long is cut after LINE_BYTES + 1 bytes."""

    data: bytes
    descriptors: tuple[int, ...] = ()


class Lines:
    """Collects pieces of the stream until they end a line. `begun`: a line without its end."""

    def __init__(self, begun: bytes = b"") -> None:
        self._begun = bytearray(begun)
        self._descriptors: list[int] = []

    @property
    def begun(self) -> bytes:
        """The beginning of the next line, if a part of it has arrived."""
        return bytes(self._begun)

    @property
    def is_too_long(self) -> bool:
        """Whether the next line exceeds LINE_BYTES already. No more of it is stored."""
        return len(self._begun) > LINE_BYTES

    def feed(self, piece: bytes, descriptors: Sequence[int] = ()) -> list[Line]:
        """Return the lines that end in the piece. The caller owns their descriptors."""
        *ends, rest = piece.split(b"\n")
        found = []
        for left, end in zip(reversed(range(len(ends))), ends, strict=True):
            self._add(end, () if left or rest else descriptors)
            found.append(Line(self.begun, tuple(self._descriptors)))
            self._begun.clear()
            self._descriptors.clear()
        if rest:
            self._add(rest, descriptors)
        return found

    def _add(self, part: bytes, descriptors: Sequence[int]) -> None:
        self._begun += part[: LINE_BYTES + 1 - len(self._begun)]
        self._descriptors += descriptors
