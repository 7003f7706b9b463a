"""What a worker writes: a pipe for the worker, and a file in memory for the supervisor.

Standard output and error of a worker are a pipe, because opening /dev/stderr would truncate a file
(docs/internals/platform.md#output-through-a-pipe-or-a-file). A relay (relay.py) moves the bytes
into a memfd, whether or not a supervisor lives. The supervisor reads behind the relay and frees the
pages whose lines the log has written, so the file stays small. Lines that wait in this process for
the log are still in the file: if the supervisor dies, its successor reads them there. If the
supervisor falls far behind, the relay drops the oldest bytes, and the hole in the file shows how
many.
"""

import ctypes
import errno
import fcntl
import os
import struct
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from wssupervisor.runtime.workers.relay_program import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    PAGE,
    move,
    own_opening,
)

LAST_LINES = 50
LINE_BYTES = 8192
"""A longer line is cut into pieces of this size."""
READ_BYTES = 1 << 16
"""Read at most this much at once: 65,536 empty lines cost 3 ms."""
PIECE_BYTES = 1 << 12
"""Lines are reported as written in pieces of about this size; a successor may repeat one piece."""
TAIL_BYTES = 1 << 16
"""The last lines are looked for in this much, no matter how much is still unread."""
PIPE_BYTES = 1 << 18
_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
PIPE_MODE = 0o622
"""Lets a worker that has changed its user open /dev/stderr."""


@dataclass(frozen=True, slots=True)
class OutputState:
    """`partial`: the line without its end so far, latin-1; `inode`: the pipe's.

    `written_to`: the log has all lines that end before this offset. The next program continues from
    `read_to`, after the log is written. After a death, it continues from `written_to`.
    """

    descriptor: int
    read_to: int
    written_to: int
    freed_to: int
    partial: str
    last: tuple[str, ...]
    pipe: int
    inode: int

    def descriptors(self) -> tuple[int, ...]:
        return self.descriptor, self.pipe


@dataclass(frozen=True, slots=True)
class Ends:
    """The worker's ends of the pipe; owns the descriptors."""

    output: int
    errors: int
    """The end for standard error: an open file of its own, because Node changes flags of each."""
    spare: int
    """A reading end that is never read: keeps writes from failing if all other readers die."""

    def close(self) -> None:
        for descriptor in (self.output, self.errors, self.spare):
            with suppress(OSError):
                os.close(descriptor)


@dataclass(frozen=True, slots=True)
class OutputLines:
    """`skipped`: bytes lost before these lines.

    `pieces`: lines, each with what must be called, in any thread, after the log has written them.
    """

    pieces: list[tuple[list[str], Callable[[], None]]] = field(default_factory=list)
    skipped: int = 0

    @property
    def lines(self) -> list[str]:
        return [line for lines, _ in self.pieces for line in lines]


class Output:
    """Owns the file and our reading end of the pipe; only the relay reads from the pipe."""

    def __init__(self, descriptor: int, pipe: int) -> None:
        self.descriptor = descriptor
        self.pipe = pipe
        self._read_to = 0
        self._written_to = 0
        self._freed_to = 0
        self._free_lock = threading.Lock()
        """Held while the thread of the log frees pages, and by `close`."""
        self._closed = False
        self._partial = b""
        self._skipped = 0
        """Lost bytes that are not reported yet."""
        self._in_gap = False
        """The next bytes are the end of a line whose start is lost."""
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._goal: int | None = None
        self._seen = (0, 0.0)

    @classmethod
    def create(cls, name: str) -> tuple["Output", Ends]:
        """A new output, and the ends for the worker. Raises OSError."""
        opened: list[int] = []
        try:
            opened.append(os.memfd_create(name, os.MFD_CLOEXEC))
            opened += os.pipe2(os.O_CLOEXEC)
            memfd, reading, writing = opened
            os.fchmod(reading, PIPE_MODE)
            with suppress(OSError):  # pipe memory is limited per user
                fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            opened.append(os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_CLOEXEC))
            spare = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, 0)
        except BaseException:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return cls(memfd, reading), Ends(writing, opened[-1], spare)

    def save(self) -> OutputState:
        partial = self._partial.decode("latin-1")
        last = tuple(self._last)
        return OutputState(
            self.descriptor,
            self._read_to,
            self._written_to,
            self._freed_to,
            partial,
            last,
            self.pipe,
            self.inode,
        )

    @classmethod
    def restore(cls, state: OutputState) -> "Output":
        found = cls(state.descriptor, state.pipe)
        found._read_to, found._freed_to = state.read_to, state.freed_to
        found._partial = state.partial.encode("latin-1")
        found._written_to = state.read_to - len(found._partial)
        found._last.extend(state.last)
        return found

    @property
    def inode(self) -> int:
        """The inode of the pipe."""
        return os.fstat(self.pipe).st_ino

    def descriptors(self) -> list[int]:
        """All descriptors that a successor needs if this supervisor dies."""
        return [self.descriptor, self.pipe]

    def close(self) -> None:
        with self._free_lock:
            self._closed = True
            for descriptor in self.descriptors():
                os.close(descriptor)

    # -- bytes in the file --------------------------------------------------------------------

    def unread(self) -> int:
        """Bytes in the file that were not read yet, lost ones included."""
        return os.fstat(self.descriptor).st_size - self._read_to

    def read(self, limit: int = READ_BYTES) -> OutputLines:
        """Return the next lines, of at most `limit` bytes; an incomplete line is kept for later."""
        at = self._data_from(self._read_to)
        if at > self._read_to:
            self._miss(at - self._read_to)
        chunk = os.pread(self.descriptor, limit, self._read_to)
        if self._data_from(self._read_to) != self._read_to:
            return OutputLines()  # the relay dropped bytes while we read: the chunk is partly zeros
        found = OutputLines(list(self._pieces(chunk)))
        lines = found.lines
        self._last.extend(lines[-LAST_LINES:])
        if lines or not self._in_gap:
            found, self._skipped = OutputLines(found.pieces, self._skipped), 0
        return found

    def _pieces(self, chunk: bytes) -> Iterator[tuple[list[str], Callable[[], None]]]:
        """The lines that end in the next bytes of the file, in pieces of about PIECE_BYTES."""
        at = 0
        while at < len(chunk):
            end = chunk.rfind(b"\n", at, at + PIECE_BYTES) + 1
            end = end or min(at + PIECE_BYTES, len(chunk))
            self._read_to += end - at
            lines = self._split(self._after_gap(chunk[at:end]))
            if lines or not self._partial:
                yield lines, self._when_written()
            at = end

    def _when_written(self) -> Callable[[], None]:
        """What to call once the log has all lines that were read so far."""
        return partial(self._written, self._read_to - len(self._partial))

    def rest(self) -> OutputLines:
        """Return the incomplete last line, after all output has arrived."""
        begun, self._partial = self._partial, b""
        skipped, self._skipped = self._skipped, 0
        lines = [_readable(begun)] if begun else []
        self._last.extend(lines)
        return OutputLines([(lines, self._when_written())] if lines else [], skipped)

    def last_lines(self) -> tuple[str, ...]:
        """The last LAST_LINES lines written, read or not. Does not mark them as read."""
        size = os.fstat(self.descriptor).st_size
        begin = self._data_from(max(self._read_to, size - TAIL_BYTES))
        tail = os.pread(self.descriptor, TAIL_BYTES, begin)
        if begin > self._read_to:
            tail = tail.partition(b"\n")[2]
            before: list[str] = []
        else:
            tail, before = self._partial + tail, list(self._last)
        lines = [_readable(one[-LINE_BYTES:]) for one in tail.split(b"\n")]
        if not lines[-1]:
            lines.pop()
        return tuple([*before, *lines][-LAST_LINES:])

    def _data_from(self, at: int) -> int:
        """The offset of the next bytes that were not dropped."""
        try:
            return os.lseek(self.descriptor, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return os.fstat(self.descriptor).st_size

    def _miss(self, count: int) -> None:
        self._skipped += count + len(self._partial)
        self._read_to += count
        self._partial = b""
        self._in_gap = True

    def _after_gap(self, chunk: bytes) -> bytes:
        """The chunk without the end of a line whose start is lost."""
        if not self._in_gap:
            return chunk
        lost, newline, rest = chunk.partition(b"\n")
        self._skipped += len(lost) + len(newline)
        self._in_gap = not newline
        return rest

    def _split(self, chunk: bytes) -> list[str]:
        whole, newline, rest = (self._partial + chunk).rpartition(b"\n")
        self._partial = rest
        lines = _lines(whole) if newline else []
        if len(rest) > LINE_BYTES:
            cut = (len(rest) - 1) // LINE_BYTES * LINE_BYTES
            lines += _lines(rest[:cut])
            self._partial = rest[cut:]
        return lines

    def _written(self, to: int) -> None:
        """Free the pages of lines that the log has written. May run in the thread of the log."""
        with self._free_lock:
            self._written_to = max(self._written_to, to)
            whole_pages = self._written_to // PAGE * PAGE
            if whole_pages > self._freed_to and not self._closed:
                _punch(self.descriptor, self._freed_to, whole_pages)
                self._freed_to = whole_pages

    # -- bytes in the pipe --------------------------------------------------------------------

    def is_complete(self) -> bool:
        """Whether the file has everything that was written before the first call of this method."""
        pending = self.pending()
        if self._goal is None:
            self._goal = os.fstat(self.descriptor).st_size + pending
        done = not pending or os.fstat(self.descriptor).st_size >= self._goal
        if done:
            self._goal = None
        return done

    def stuck_for(self, now: float) -> float:
        """Seconds for which the pipe had bytes and the relay moved none."""
        size, since = self._seen
        grown = os.fstat(self.descriptor).st_size
        if grown != size or not self.pending():
            self._seen = grown, now
            return 0.0
        return now - since

    def move(self) -> None:
        """Move bytes as a relay does, while there is no relay."""
        if not self.pending():
            return
        file = own_opening(self.descriptor)
        if file is not None:
            try:
                move(self.pipe, file)
            finally:
                os.close(file)

    def pending(self) -> int:
        """Bytes in the pipe. Blocks while the kernel is moving some of them."""
        found = bytearray(4)
        fcntl.ioctl(self.pipe, termios.FIONREAD, found)
        return int(struct.unpack("=i", found)[0])


def _punch(file: int, begin: int, end: int) -> None:
    """Like `relay_program.punch`, which looks the function up each time: 5 us instead of 30."""
    _fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, end - begin)


def _lines(data: bytes) -> list[str]:
    """Split data without its last newline into lines; in bulk if all are harmless, as most are."""
    text = data.decode("utf-8", "backslashreplace")
    lines = text.split("\n")
    harmless = text.replace("\n", "").replace("\t", "").isprintable()
    if harmless and max(map(len, lines)) <= LINE_BYTES // 4:
        return lines
    return [
        _readable(line[at : at + LINE_BYTES])
        for line in data.split(b"\n")
        for at in range(0, max(len(line), 1), LINE_BYTES)
    ]


def _readable(line: bytes) -> str:
    """The line as text without terminal control characters."""
    text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\t" else char.encode("unicode_escape").decode()
        for char in text
    )
