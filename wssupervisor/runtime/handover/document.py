"""What a supervisor that re-executes itself hands to the program that comes after it.

Plain data in a memfd, and descriptors that stay open under their numbers: `execv` keeps the
process, its children and its open files, and nothing else.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wssupervisor import __version__
from wssupervisor.errors import OperationFailed
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.counters import Histogram
from wssupervisor.fleet.model import ADDED, WorkerId
from wssupervisor.fleet.snapshot import SnapshotInvalid, load, plain, typed
from wssupervisor.fleet.state import Verdict
from wssupervisor.runtime.listeners.handshakes import HandshakesState
from wssupervisor.runtime.listeners.pool import ListenerState
from wssupervisor.runtime.workers.crew import WorkerHandleState
from wssupervisor.runtime.workers.output_reader import EndedOutputState

VERSION = 1
"""Of the document; one that it cannot read is refused by the program on trial."""
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ControlState:
    listening: int
    lock: int
    made_directory: bool


@dataclass(frozen=True, slots=True)
class HandoverDocument:
    """All of it. Instants are CLOCK_MONOTONIC, which goes on."""

    version: int
    program: str
    executions: int
    config_text: str | None
    fleet: dict[str, Any]
    listeners: tuple[ListenerState, ...]
    slots_before: dict[str, int]
    handshakes: HandshakesState
    workers: tuple[WorkerHandleState, ...]
    last_words: dict[WorkerId, tuple[str, ...]]
    control: ControlState | None
    last_request: int
    cut_over_at: dict[str, tuple[float, float]]
    verdicts: tuple[Verdict, ...]
    history: tuple[tuple[float, dict[str, Any]], ...]
    first_seen: dict[int, float]
    http: ListenerState | None = field(default=None, metadata=ADDED)
    lag: Histogram | None = field(default=None, metadata=ADDED)

    rests: tuple[EndedOutputState, ...] = field(default=(), metadata=ADDED)

    def load_fleet(self) -> Fleet:
        """Raises OperationFailed."""
        try:
            return load(self.fleet)
        except SnapshotInvalid as error:
            raise OperationFailed(f"its state cannot be taken over: {error}") from error

    def descriptors(self) -> Iterator[int]:
        """All that must stay open."""
        for listener in (*self.listeners, *([] if self.http is None else [self.http])):
            yield from listener.descriptors
            if listener.lock is not None:
                yield listener.lock
        for worker in self.workers:
            yield worker.process.pidfd
            yield from worker.output.descriptors()
            yield worker.notify.descriptor
            yield worker.channel
        for rest in self.rests:
            yield from rest.output.descriptors()
        if self.control is not None:
            yield self.control.listening
            yield self.control.lock


def write(carried: HandoverDocument) -> int:
    """A memfd with the document; the caller owns it. Raises OSError."""
    memfd = os.memfd_create("wssupervisor-state", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(memfd), "w", encoding="utf-8") as file:
            json.dump(plain(carried), file)
    except BaseException:
        os.close(memfd)
        raise
    return memfd


def read(memfd: int) -> HandoverDocument:
    """What was written there. Raises OperationFailed with what is wrong."""
    text = b""
    while piece := os.pread(memfd, READ_BYTES, len(text)):
        text += piece
    try:
        data = json.loads(text)
        version = data["version"]
        if version != VERSION:
            raise OperationFailed(
                f"its state has version {version!r}, wssupervisor {__version__} knows {VERSION}"
            )
        carried: HandoverDocument = typed(HandoverDocument, data)
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        raise OperationFailed(f"its state cannot be read: {error!r}") from error
    return carried
