"""What a worker writes: kept in memory that needs no reader, and passed on by us.

A pipe would break when the supervisor dies and fill when it sleeps; a file of our own does neither.
Standard output and error of a worker are one memfd, opened for appending: the worker never blocks
and never sees EPIPE. We read behind it and give the pages back as we go, so it stays small; what
was written while nobody read is there for whoever reads next.
"""

import ctypes
import os
from collections import deque

from wssupervisor.runtime.carried import CarriedOutput

LAST_LINES = 50
LINE_BYTES = 8192
"""A longer line is cut into pieces of this size."""
READ_BYTES = 1 << 18
"""Read at most so much at one look, or a chatty worker would keep us from everything else."""
PAGE = 4096

FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2

_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Output:
    """Owns the memfd; `descriptor` is what the worker gets."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._read_to = 0
        self._freed_to = 0
        self._partial = b""
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    @classmethod
    def create(cls, name: str) -> "Output":
        """A new one. Raises OSError."""
        memfd = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            appending = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
            return cls(os.open(f"/proc/self/fd/{memfd}", appending))
        finally:
            os.close(memfd)

    def carry(self) -> CarriedOutput:
        partial = self._partial.decode("latin-1")
        last = tuple(self._last)
        return CarriedOutput(self.descriptor, self._read_to, self._freed_to, partial, last)

    @classmethod
    def take_over(cls, carried: CarriedOutput) -> "Output":
        found = cls(carried.descriptor)
        found._read_to, found._freed_to = carried.read_to, carried.freed_to
        found._partial = carried.partial.encode("latin-1")
        found._last.extend(carried.last)
        return found

    def poll(self, *, final: bool = False) -> list[str]:
        """Lines written since the last look; `final`: all that is left, ended or not."""
        lines: list[str] = []
        while chunk := os.pread(self.descriptor, READ_BYTES, self._read_to):
            self._read_to += len(chunk)
            lines += self._split(chunk)
            if not final:
                break
        if final and self._partial:
            lines.append(_readable(self._partial))
            self._partial = b""
        self._free()
        self._last.extend(lines)
        return lines

    def last_lines(self) -> tuple[str, ...]:
        """The last LAST_LINES lines that were read."""
        return tuple(self._last)

    def close(self) -> None:
        os.close(self.descriptor)

    def _split(self, chunk: bytes) -> list[str]:
        *whole, self._partial = (self._partial + chunk).split(b"\n")
        if len(self._partial) > LINE_BYTES:
            whole.append(self._partial)
            self._partial = b""
        pieces = (
            line[at : at + LINE_BYTES]
            for line in whole
            for at in range(0, max(len(line), 1), LINE_BYTES)
        )
        return [_readable(piece) for piece in pieces]

    def _free(self) -> None:
        whole_pages = self._read_to // PAGE * PAGE
        if whole_pages > self._freed_to:
            mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
            _fallocate(self.descriptor, mode, self._freed_to, whole_pages - self._freed_to)
            self._freed_to = whole_pages


def _readable(line: bytes) -> str:
    """Text that does nothing to a terminal."""
    text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode()
        for char in text
    )
