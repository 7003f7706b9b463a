"""Live numbers of a client process, in a small file that its parent reads.

A file, not a pipe: the parent need not read in time, and can read the numbers of a dead client.
"""

import os
import struct
from pathlib import Path

FIELDS = ("begun", "good", "bad", "extra")
_LAYOUT = struct.Struct("=4Q")


class CountersWriter:
    """The client's end. `publish` is cheap enough to call many times a second."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def publish(self, begun: int, good: int, bad: int, extra: int = 0) -> None:
        os.pwrite(self._fd, _LAYOUT.pack(begun, good, bad, extra), 0)

    def close(self) -> None:
        os.close(self._fd)


def read_counters(path: Path) -> tuple[int, int, int, int]:
    """Return (begun, good, bad, extra) as last published, or zeros if nothing was published."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return (0, 0, 0, 0)
    if len(data) < _LAYOUT.size:
        return (0, 0, 0, 0)
    begun, good, bad, extra = _LAYOUT.unpack_from(data)
    return (begun, good, bad, extra)
