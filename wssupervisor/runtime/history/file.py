"""The history as JSON lines on disk, which outlive the supervisor and may outlive a reboot.

Each entry is one write to a file opened with O_APPEND, so that a crash leaves at most one torn
line, the last; readers skip it. A file that has reached its size is renamed and replaces the one
renamed before: at most two exist.

The daemon reads only files of its own in a directory that no other user may write, and skips lines
that are not entries.
"""

import contextlib
import json
import os
import re
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import structlog

from wssupervisor import files
from wssupervisor.control.documents import Event
from wssupervisor.control.socket_file import identity
from wssupervisor.own_directory import OwnDirectory
from wssupervisor.runtime.history.entries import LINE_BYTES_MIN, entry

log = structlog.get_logger()

MODE = 0o640
OLDER = ".1"
"""Suffix of the file that was renamed."""
READ_BYTES_MAX = 4 << 20
"""Bytes that are read, from the end of each file: more than is ever written."""
_LINE = re.compile(rb"^[^\n]{%d,}" % LINE_BYTES_MIN, re.MULTILINE)
"""One at a time: a damaged file may consist of millions of short lines."""


class HistoryFile:
    """Owns its descriptor. A failure to write is logged as a warning and never raised."""

    def __init__(self, path: str, size: int, *, makes_directory: bool = False) -> None:
        """`size`: bytes, after which the file is renamed."""
        self._path = path
        self._directory = OwnDirectory(Path(path).parent, makes=makes_directory)
        self._name = Path(path).name
        self._limit = size
        self._file: int | None = None
        self._size = 0
        self._torn = False
        """Whether the last line is incomplete, so that the next entry begins with a newline."""
        self.works = True
        """Whether the last entry was written."""

    def append(self, entry: Event) -> None:
        """Write an entry. Of failures in a row only the first is logged."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        try:
            self._append(line)
        except OSError as error:
            self.close()
            if self.works:
                log.warning(
                    "cannot write the history: a restart will lose the events from now on",
                    path=self._path,
                    why=error.strerror or str(error),
                )
            self.works = False
        else:
            self.works = True

    def is_lost(self) -> bool:
        """Whether the open file is no longer the one at the path. Raises OSError."""
        if self._file is None:
            return False
        found = os.fstat(self._file)
        return identity(self._path) != (found.st_dev, found.st_ino)

    def _append(self, line: bytes) -> None:
        if self.is_lost():
            self.close()
        if self._file is None:
            self._open()
        if self._size and self._size + len(line) > self._limit:
            self._rotate()
        assert self._file is not None
        text = b"\n" + line if self._torn else line
        self._torn = True
        written = os.write(self._file, text)
        self._size += written
        if written != len(text):
            raise OSError("only part of a line could be written")
        self._torn = False

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self._file = self._directory.open(self._name, flags, MODE)
        self._size = os.fstat(self._file).st_size
        self._torn = self._size > 0 and os.pread(self._file, 1, self._size - 1) != b"\n"

    def _rotate(self) -> None:
        self.close()
        self._directory.replace(self._name, self._name + OLDER)
        self._open()

    def read(self, most: int) -> list[Event]:
        """The last entries, oldest first; other lines are skipped."""
        pieces = []
        for name in (self._name + OLDER, self._name):
            try:
                pieces.append(self._directory.read_end(name, READ_BYTES_MAX))
            except FileNotFoundError:
                continue
            except OSError as error:
                path = str(self._directory.path / name)
                log.warning("cannot read the history", path=path, why=error.strerror or str(error))
        return _entries(pieces, most)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # reports an earlier write; the file is closed
                os.close(file)

    def remove(self) -> None:
        """Remove both files."""
        self.close()
        with contextlib.suppress(OSError):
            self._directory.remove(self._name, self._name + OLDER)


def read_record(path: Path, most: int) -> list[Event]:
    """The last entries that a daemon of any user wrote, only to be shown.

    Files that cannot be read are skipped.
    """
    pieces = []
    for place in (f"{path}{OLDER}", str(path)):
        with contextlib.suppress(OSError):
            descriptor = files.open_regular(place, files.FLAGS | os.O_NOFOLLOW)
            try:
                pieces.append(files.read_end(descriptor, READ_BYTES_MAX))
            finally:
                os.close(descriptor)
    return _entries(pieces, most)


def _entries(pieces: Iterable[bytes], most: int) -> list[Event]:
    found: deque[Event] = deque(maxlen=most)
    for piece in pieces:
        lines = (match[0] for match in _LINE.finditer(piece))
        found.extend(one for line in lines if (one := entry(line)) is not None)
    return list(found)
