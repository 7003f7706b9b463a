"""Live numbers from a client process to whoever started it, through a small file.

A file, not a pipe: nobody has to read it in time, and the numbers of a dead client stay readable.
"""

import os
import struct
from pathlib import Path

FIELDS = ("begun", "good", "bad", "extra")
_LAYOUT = struct.Struct("=4Q")


class CountersWriter:
    """The client's end; `publish` is cheap enough to be called many times a second."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def publish(self, begun: int, good: int, bad: int, extra: int = 0) -> None:
        os.pwrite(self._fd, _LAYOUT.pack(begun, good, bad, extra), 0)

    def close(self) -> None:
        os.close(self._fd)


def read_counters(path: Path) -> tuple[int, int, int, int]:
    """(begun, good, bad, extra) as last published; zeros before the first time."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return (0, 0, 0, 0)
    if len(data) < _LAYOUT.size:
        return (0, 0, 0, 0)
    begun, good, bad, extra = _LAYOUT.unpack_from(data)
    return (begun, good, bad, extra)
