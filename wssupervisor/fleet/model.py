"""The values that events, actions and state are made of."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

SlotId = int
"""A slot's identity: the inode number of its socket."""

RequestId = int
"""Identifies a request that waits for an answer. The control server assigns it."""


@dataclass(frozen=True, slots=True, order=True)
class WorkerId:
    """One process of a generation. Known before it has a pid."""

    generation: int
    index: int
    incarnation: int

    def __str__(self) -> str:
        return f"{self.generation}.{self.index}.{self.incarnation}"


@dataclass(frozen=True, slots=True)
class Release:
    """What is run, as resolved at one moment. Paths here follow no symlink."""

    command: tuple[str, ...]
    directory: str
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Contains secrets; must not be logged."""


class ReadyBy(Enum):
    CONNECT = "connect"
    NOTIFY = "notify"
    DELAY = "delay"
    HTTP = "http"
    WEBSOCKET = "websocket"


@dataclass(frozen=True, slots=True)
class Check:
    """The request to a worker before it counts as ready. `by` is HTTP or WEBSOCKET.

    `send` and `expect`: a message to send, and one that must arrive; or None. `host`: the Host
    header, instead of the address. The values of `headers` may be secrets and appear in no log.
    """

    by: ReadyBy
    listener: str
    path: str = "/"
    send: str | None = None
    expect: str | None = None
    host: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    subprotocol: str | None = None


class WhenFull(Enum):
    """What a reload does if `max_draining` generations are draining."""

    REFUSE = "refuse"
    END_OLDEST = "end-oldest"


@dataclass(frozen=True, slots=True)
class Policy:
    """The configured values that decisions need. Spans in seconds, `math.inf` for no limit.

    `watchdog`: how long a worker that sends heartbeats may send none; 0: no limit.
    `forward_signals`: signals that the supervisor forwards to the active generation.
    """

    workers: int = 1
    ready_by: ReadyBy = ReadyBy.CONNECT
    ready_timeout: float = 30.0
    check: Check | None = None
    stable: float = 1.0
    accept_stall: float = 2.0
    keep: float = 30.0
    drain_timeout: float = math.inf
    close_over: float = 30.0
    drain_signal: str | None = None
    max_draining: int = 8
    when_full: WhenFull = WhenFull.REFUSE
    stop_timeout: float = 30.0
    stop_close_over: float = 5.0
    stop_signal: str = "SIGTERM"
    kill_after: float = 10.0
    backoff: float = 0.5
    backoff_max: float = 30.0
    watchdog: float = 0.0
    replace_after: float = 60.0
    by_client: tuple[str, ...] = ()
    """Listeners on which the client's address picks the worker."""
    forward_signals: tuple[str, ...] = ()
    replace_stalled: float = 10.0
    """How long a worker may accept nothing before a replacement is started."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An address of the application. `slots` by group index, with the parking slot last.

    `shared`: in shared mode, the one slot that all workers of all generations have.
    """

    name: str
    slots: tuple[SlotId, ...]
    shared: SlotId | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Where new connections go: for each listener, slots with weights.

    `by_client`: listeners on which the client's address picks the slot instead of a random number.
    """

    weights: Mapping[str, Mapping[SlotId, int]] = field(default_factory=dict)
    by_client: tuple[str, ...] = ()

    def names(self, slot: SlotId) -> bool:
        return any(slot in slots for slots in self.weights.values())


class WorkerState(Enum):
    STARTING = "starting"
    READY = "ready"
    STALLED = "stalled"
    WAITING = "waiting"
    DRAINING = "draining"
    STOPPING = "stopping"
    EXITED = "exited"


class GenerationState(Enum):
    STARTING = "starting"
    ACTIVE = "active"
    DRAINING = "draining"
    RETIRED = "retired"
    FAILED = "failed"


class InstanceState(Enum):
    STARTING = "starting"
    SERVING = "serving"
    RELOADING = "reloading"
    DEGRADED = "degraded"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker's main process ended: one of the two is set, or neither if unknown."""

    status: int | None = None
    signal: str | None = None

    def __str__(self) -> str:
        if self.signal is not None:
            return f"was killed by {self.signal}"
        if self.status is not None:
            return f"exited with status {self.status}"
        return "ended with an unknown status"
