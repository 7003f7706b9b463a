"""Facts for the fleet, in the past tense."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from wssupervisor.fleet.model import Exit, Policy, Release, RequestId, SlotId, WorkerId
from wssupervisor.fleet.orders import Order


@dataclass(frozen=True, slots=True)
class StartRequested:
    """The instance has to serve. Posted once, after the first `Observed`."""

    release: Release
    policy: Policy


@dataclass(frozen=True, slots=True)
class Requester:
    """The requester, for display: `via` wssctl, systemd, or a signal, whose sender is unknown."""

    via: str
    user: str | None = None
    pid: int | None = None

    def fields(self) -> dict[str, str | int | None]:
        """Return the fields for a note."""
        return {"via": self.via, "by": self.user, "by_pid": self.pid}


UNKNOWN_REQUESTER = Requester("unknown")


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """A new generation was requested. `timeout` in seconds. `waits`: for the verdict.

    `make_room`: if there is no room, end the emptiest draining generation early.
    """

    request: RequestId | None
    timeout: float = 60.0
    waits: bool = True
    make_room: bool = False
    by: Requester = UNKNOWN_REQUESTER


@dataclass(frozen=True, slots=True)
class RollBackRequested:
    """A rollback to the previously active generation was requested."""

    request: RequestId
    timeout: float = 60.0
    by: Requester = UNKNOWN_REQUESTER


@dataclass(frozen=True, slots=True)
class ScaleRequested:
    request: RequestId
    workers: int


@dataclass(frozen=True, slots=True)
class ReleaseResolved:
    reload: int
    release: Release
    policy: Policy


@dataclass(frozen=True, slots=True)
class ReleaseRefused:
    reload: int
    reason: str


@dataclass(frozen=True, slots=True)
class DrainLimited:
    """The generation has to end within `within` seconds; `math.inf`: when it is empty."""

    request: RequestId
    generation: int
    within: float


@dataclass(frozen=True, slots=True)
class DrainPaused:
    """Nothing may end the generation, neither a limit nor being empty, until it is resumed."""

    request: RequestId
    generation: int


@dataclass(frozen=True, slots=True)
class DrainResumed:
    request: RequestId
    generation: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """`within`, in seconds, replaces the configured limit of the whole stop.

    Another request during a stop is refused, but its `within` can shorten the limit.
    """

    request: RequestId | None
    within: float | None = None


@dataclass(frozen=True, slots=True)
class LeaveRequested:
    """The instance has to leave its load balancer, and its connections have to close.

    None is closed within the first `lead` seconds. A requester that `waits` does so for at most
    `within` seconds, or `math.inf`.
    """

    request: RequestId
    lead: float
    within: float = math.inf
    waits: bool = True
    by: Requester = UNKNOWN_REQUESTER


@dataclass(frozen=True, slots=True)
class JoinRequested:
    """The instance has to be back in its load balancer."""

    request: RequestId
    by: Requester = UNKNOWN_REQUESTER


@dataclass(frozen=True, slots=True)
class RequesterGone:
    request: RequestId


@dataclass(frozen=True, slots=True)
class Spawned:
    worker: WorkerId
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker itself reported that it can serve."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class LibraryConnected:
    """The worker uses the library. `closes`, `releases_sockets`: what it can be asked to do."""

    worker: WorkerId
    closes: bool
    releases_sockets: bool


@dataclass(frozen=True, slots=True)
class LibraryDisconnected:
    """The worker's channel is closed: it is now treated like a worker without the library."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerAlive:
    """A heartbeat: its event loop is running."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerCounted:
    """The number of connections that the worker itself reports."""

    worker: WorkerId
    connections: int


@dataclass(frozen=True, slots=True)
class ProbePassed:
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeTried:
    """A try failed, and another follows. `reason` completes "it ...", meaning the worker."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class SlotReleased:
    """No process of the worker's tree holds its slot."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """No process of the worker's tree is left.

    `advice`: what to do about it, if its last output shows that.
    """

    worker: WorkerId
    exit: Exit
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class MainProcessEnded:
    """The worker's main process has ended, but other processes of its tree live.

    Posted immediately, and possibly repeated. `WorkerExited` follows when the last process has
    ended. `advice`: as in `WorkerExited`.
    """

    worker: WorkerId
    exit: Exit
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class LeftoverJudged:
    """`serves`: the rest of the worker accepts connections, or has accepted those it holds."""

    worker: WorkerId
    serves: bool


@dataclass(frozen=True, slots=True)
class Steered:
    epoch: int


@dataclass(frozen=True, slots=True)
class SteerFailed:
    """The table of this epoch is not in force. The previous one is, on every listener."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class SlotsReordered:
    """Group indexes have moved. `slots`: the new index order of the listener."""

    listener: str
    slots: tuple[SlotId, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Accept-queue lengths, and the last steering epoch whose handshakes are all over.

    The handshakes were read before the queues, so a connection that leaves the first is seen in the
    second. `deaf`: slots that no client can reach, because a worker locked a packet filter on them.
    `occupied`: slots with a process that belongs to no known worker.
    """

    queues: Mapping[SlotId, int]
    handshakes_over: int
    deaf: frozenset[SlotId] = frozenset()
    occupied: AbstractSet[SlotId] = frozenset()


@dataclass(frozen=True, slots=True)
class CensusTaken:
    """Live connections by worker; `unattributed` ones belong to no known worker.

    `began_at`: start of the census, in monotonic seconds. A worker that began to drain later is not
    judged by it. `listening`: the slots that each worker's tree holds. `held_up`: stalled workers
    with a thread that waits for a client to send or to read.
    """

    counts: Mapping[WorkerId, int]
    unattributed: int
    began_at: float
    listening: Mapping[WorkerId, AbstractSet[SlotId]] = field(default_factory=dict)
    held_up: AbstractSet[WorkerId] = frozenset()


@dataclass(frozen=True, slots=True)
class Reexecuted:
    """The supervisor was re-executed, from the version `before` to `version`."""

    version: str
    before: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A new supervisor continues with the decisions and the workers of one that died.

    `running`: the pid of each worker with a living process. `gone`: how the others ended.
    `orders`: those of the last step, of which all, some or none were carried out.
    `exchanged`: slots that were lost with the supervisor, each with its replacement.
    """

    version: str
    before: str
    running: Mapping[WorkerId, int]
    gone: Mapping[WorkerId, Exit]
    orders: tuple[Order, ...] = ()
    exchanged: Mapping[SlotId, SlotId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Only time has passed."""


Request = (
    ReloadRequested
    | RollBackRequested
    | ScaleRequested
    | DrainLimited
    | DrainPaused
    | DrainResumed
    | LeaveRequested
    | JoinRequested
    | StopRequested
)
"""Events that are answered exactly once, if they have a `request`."""

Event = (
    Request
    | StartRequested
    | ReleaseResolved
    | ReleaseRefused
    | RequesterGone
    | Spawned
    | SpawnFailed
    | WorkerReady
    | LibraryConnected
    | LibraryDisconnected
    | WorkerAlive
    | WorkerCounted
    | ProbePassed
    | ProbeFailed
    | ProbeTried
    | SlotReleased
    | WorkerExited
    | MainProcessEnded
    | LeftoverJudged
    | Steered
    | SteerFailed
    | SlotsReordered
    | Observed
    | CensusTaken
    | Reexecuted
    | Recovered
    | TimePassed
)
