"""What a supervisor that re-executes itself hands to the program that comes after it.

Plain data in a memfd, and descriptors that stay open under their numbers: `execv` keeps the
process, its children and its open files, and nothing else.
"""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from wssupervisor import __version__
from wssupervisor.errors import OperationFailed
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.counters import Histogram
from wssupervisor.fleet.model import ADDED, Exit, WorkerId
from wssupervisor.fleet.snapshot import SnapshotInvalid, load, plain, typed
from wssupervisor.fleet.state import Verdict
from wssupervisor.runtime.kernel.inet_diag import Endpoint, Handshake
from wssupervisor.runtime.workers.serving import Acceptor

VERSION = 1
"""Of the document; one that it cannot read is refused by the program on trial."""
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ListenerState:
    """`path` and `lock` are of an AF_UNIX one; `order`, `weights`, `probes` and `by_client` of a
    steered one.
    """

    name: str
    source: str
    why_shared: str | None
    descriptors: tuple[int, ...]
    order: tuple[int, ...] = ()
    weights: dict[int, int] | None = None
    probes: tuple[tuple[int, Endpoint], ...] = ()
    path: str | None = None
    lock: int | None = None
    by_client: bool = field(default=False, metadata=ADDED)
    promise: dict[str, str] = field(default_factory=dict, metadata=ADDED)
    """Socket options as they were at first: see socket_options."""
    holders: dict[int, str] = field(default_factory=dict, metadata=ADDED)
    """By slot: the worker that was given it last."""


@dataclass(frozen=True, slots=True)
class OutputState:
    """`partial`: the begun line, latin-1; `inode`: the pipe's."""

    descriptor: int
    read_to: int
    freed_to: int
    partial: str
    last: tuple[str, ...]
    pipe: int | None = field(default=None, metadata=ADDED)
    inode: int = field(default=0, metadata=ADDED)

    def descriptors(self) -> tuple[int, ...]:
        return (self.descriptor,) if self.pipe is None else (self.descriptor, self.pipe)


@dataclass(frozen=True, slots=True)
class EndedOutputState:
    """What a worker wrote that has ended; the log has not taken it yet."""

    worker: WorkerId
    pid: int
    output: OutputState


@dataclass(frozen=True, slots=True)
class ProcessState:
    pid: int
    pidfd: int
    identity: tuple[str, ...]
    exit: Exit | None
    seen: dict[int, int | None]
    acceptor: Acceptor | None = field(default=None, metadata=ADDED)


@dataclass(frozen=True, slots=True)
class NotifySocketState:
    descriptor: int
    address: str
    path: str | None


@dataclass(frozen=True, slots=True)
class WorkerHandleState:
    """`channel` is None where it was closed."""

    id: WorkerId
    process: ProcessState
    output: OutputState
    notify: NotifySocketState
    channel: int
    channel_closed: bool
    watchdog: float
    slots: dict[str, int]
    status: str | None
    library: str | None


@dataclass(frozen=True, slots=True)
class HandshakesState:
    """`unseen`: epochs at whose steering they could not be read; `until`: when many are over."""

    pending: dict[int, tuple[Handshake, ...]]
    latest: int
    unseen: tuple[int, ...] = field(default=(), metadata=ADDED)
    until: dict[int, float] = field(default_factory=dict, metadata=ADDED)


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


def taken_over(descriptor: int) -> socket.socket:
    """A socket that came through `execv`."""
    found = socket.socket(fileno=descriptor)
    found.setblocking(False)
    return found


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
