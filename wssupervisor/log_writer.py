"""Writes the log in its own thread, because the reader may be slow, stopped or gone.

The loop only appends to one of two bounded lanes. The supervisor's own messages have their own
lane, so that a flood of worker output cannot push them out. Records for a full lane are dropped
and counted. An entry at their place has the number of missing lines, and their times.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from wssupervisor import quiet_thread
from wssupervisor.journal import Journal
from wssupervisor.log_allowance import Allowance

OWN_BYTES = 4 << 20
OUTPUT_BYTES = 1 << 20
"""Limit of waiting worker output. Beyond this, output stays where the workers wrote it."""
ENTRY_BYTES = 64
"""The cost of an entry besides its text."""
AT_ONCE = 4096
"""PIPE_BUF: a pipe takes up to this much whole or not at all, so that no line is cut."""
ENTRIES_AT_ONCE = 1000
RETRY_SECONDS = 0.5
"""Seconds between two attempts to write."""


@dataclass(frozen=True, slots=True)
class Record:
    """Lines that belong together, and the function that makes an entry of each."""

    lines: Sequence[str]
    entry: Callable[[str], bytes]
    reports: "Dropped | None" = None
    """Set if the record reports missing lines."""
    written: Callable[[], None] | None = None
    """Called by the writing thread after these lines and all before them are written, or lost."""

    def size(self) -> int:
        return sum(map(len, self.lines)) + ENTRY_BYTES * len(self.lines)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Missing lines, and when they were written (local time)."""

    lines: int
    since: str
    until: str


class Sink(Protocol):
    """The destination of entries."""

    keeps: bool
    """Whether a failed write is repeated. Otherwise its lines are lost."""

    def write(self, entries: Sequence[bytes], at: int) -> int:
        """Write some entries from `at` on, in order. Returns how many; 0: not now. May block."""


class StdoutSink:
    """Standard output, by its number: Python's own stream would try to write again at exit."""

    keeps = False

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor

    def write(self, entries: Sequence[bytes], at: int) -> int:
        end, size = at + 1, len(entries[at])
        while end < len(entries) and size + len(entries[end]) <= AT_ONCE:
            size += len(entries[end])
            end += 1
        view = memoryview(b"".join(entries[at:end]))
        try:
            while view:
                view = view[self._write(view) :]
        except OSError:
            return 0
        return end - at

    def _write(self, view: memoryview) -> int:
        try:
            return os.write(self._descriptor, view)
        except BlockingIOError:  # another process that shares it made it non-blocking
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll(1000)
            return 0


class JournalSink:
    """The journal. If it is stopped, entries wait for it; only a full lane loses lines."""

    keeps = True

    def __init__(self) -> None:
        self._journal = Journal()

    def write(self, entries: Sequence[bytes], at: int) -> int:
        try:
            self._journal.send(entries[at])
        except OSError:
            return 0
        return 1


class _Lane:
    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.bytes = 0
        self.records: deque[tuple[int, Record, int]] = deque()
        self.dropped = 0
        self.since = self.until = ""

    def drop(self, lines: int) -> None:
        self.until = datetime.now().astimezone().isoformat(timespec="seconds")
        if not self.dropped:
            self.since = self.until
        self.dropped += lines


class Writer:
    """A daemon thread, and the lanes that it empties, oldest record first."""

    def __init__(
        self,
        sink: Sink,
        missing: Callable[[Dropped], Record],
        allowance: Allowance | None = None,
    ) -> None:
        """`missing`: makes the record of dropped lines. `allowance`: the limit for output."""
        self._allowance = allowance
        self._sink = sink
        self._missing = missing
        self._own, self._output = _Lane(OWN_BYTES), _Lane(OUTPUT_BYTES)
        self._sequence = 0
        self._writing = 0
        """Lines that the thread has taken but not written yet."""
        self._changed = threading.Condition()
        quiet_thread.start(self._run, "log")

    def put(self, record: Record, *, output: bool = False) -> None:
        """Queue a record. Never blocks, never raises."""
        lane, size = self._output if output else self._own, record.size()
        with self._changed:
            if lane.bytes and lane.bytes + size > lane.bound:
                lane.drop(len(record.lines))
                return
            if output and self._allowance is not None:
                if self._allowance.left(time.monotonic()) <= 0:
                    lane.drop(len(record.lines))
                    return
                self._allowance.spend(len(record.lines))
            self._report_dropped(lane)
            self._append(lane, record, size)
            self._changed.notify_all()

    def drop(self, lines: int) -> None:
        """Count lines that were lost elsewhere."""
        with self._changed:
            self._own.drop(lines)
            self._changed.notify_all()

    def has_room(self) -> bool:
        """Whether the lane has room for more output; otherwise that stays in the workers' files."""
        if self._allowance is not None and self._allowance.left(time.monotonic()) <= 0:
            return False
        return self._output.bytes < self._output.bound // 2

    def flush(self, within: float) -> int:
        """Wait until all is written; returns the number of lines that are not."""
        deadline = time.monotonic() + within
        with self._changed:
            while left := self._left():
                rest = deadline - time.monotonic()
                if rest <= 0:
                    return left
                self._changed.wait(rest)
        return 0

    def _left(self) -> int:
        waiting = sum(len(record.lines) for lane in self._lanes() for _, record, _ in lane.records)
        return self._writing + waiting + sum(lane.dropped for lane in self._lanes())

    def _lanes(self) -> tuple[_Lane, _Lane]:
        return self._own, self._output

    def _append(self, lane: _Lane, record: Record, size: int) -> None:
        self._sequence += 1
        lane.records.append((self._sequence, record, size))
        lane.bytes += size

    def _report_dropped(self, lane: _Lane) -> None:
        if lane.dropped:
            record = self._missing(Dropped(lane.dropped, lane.since, lane.until))
            lane.dropped = 0
            self._append(lane, record, record.size())

    def _run(self) -> None:
        while True:
            lane, record, size = self._next()
            for some in _in_portions(record):
                self._write(lane, some, record.reports)
            if record.written is not None:
                record.written()
            with self._changed:
                lane.bytes -= size
                self._writing = 0
                self._changed.notify_all()

    def _next(self) -> tuple[_Lane, Record, int]:
        with self._changed:
            while True:
                for lane in self._lanes():
                    if not lane.records:  # dropped records came after the records in the lane
                        self._report_dropped(lane)
                filled = [lane for lane in self._lanes() if lane.records]
                if filled:
                    break
                self._changed.wait()
            lane = min(filled, key=lambda one: one.records[0][0])
            _, record, size = lane.records.popleft()
            self._writing = len(record.lines)
            return lane, record, size

    def _write(self, lane: _Lane, entries: list[bytes], reports: Dropped | None) -> None:
        at = 0
        while at < len(entries):
            done = self._sink.write(entries, at)
            at += done
            if done:
                with self._changed:
                    self._writing -= done
                continue
            if not self._sink.keeps:
                self._lose(lane, len(entries) - at, reports)
                at = len(entries)
            time.sleep(RETRY_SECONDS)

    def _lose(self, lane: _Lane, lines: int, reports: Dropped | None) -> None:
        with self._changed:
            self._writing -= lines
            if reports is None:
                lane.drop(lines)
            else:
                lane.dropped += reports.lines
                lane.since, lane.until = reports.since, lane.until or reports.until


def _in_portions(record: Record) -> Iterator[list[bytes]]:
    """Yield entries in portions: entries of empty lines need many times their memory."""
    for at in range(0, len(record.lines), ENTRIES_AT_ONCE):
        yield [record.entry(line) for line in record.lines[at : at + ENTRIES_AT_ONCE]]
