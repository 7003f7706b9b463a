"""Facts that the fleet is told, in the past tense."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from wssupervisor.fleet.model import Exit, Policy, Release, RequestId, SlotId, WorkerId
from wssupervisor.fleet.orders import Order


@dataclass(frozen=True, slots=True)
class StartRequested:
    """The instance shall serve; said once, after the first `Observed`."""

    release: Release
    policy: Policy


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asked, for people: `via` wssctl, systemd, or a signal, whose sender nobody knows."""

    via: str
    user: str | None = None
    pid: int | None = None

    def fields(self) -> dict[str, str | int | None]:
        """Of a note."""
        return {"via": self.via, "by": self.user, "by_pid": self.pid}


UNKNOWN_REQUESTER = Requester("unknown")


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """Somebody wants a new generation. `timeout` in seconds; `waits` for the verdict or not.

    `make_room`: hurry the oldest draining generation where there is no room for one more.
    """

    request: RequestId | None
    timeout: float = 60.0
    waits: bool = True
    make_room: bool = False
    by: Requester = UNKNOWN_REQUESTER


@dataclass(frozen=True, slots=True)
class RollBackRequested:
    """Somebody wants the generation back that was active before this one."""

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
    """`within` seconds from now the generation shall be gone; `math.inf`: when it is empty."""

    request: RequestId
    generation: int
    within: float


@dataclass(frozen=True, slots=True)
class DrainPaused:
    """Nothing shall end the generation, no limit and not that it is empty, until resumed."""

    request: RequestId
    generation: int


@dataclass(frozen=True, slots=True)
class DrainResumed:
    request: RequestId
    generation: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """`within` replaces the configured limit of the whole stop, in seconds.

    While it is stopping another one is refused, but its `within` can bring the limit nearer.
    """

    request: RequestId | None
    within: float | None = None


@dataclass(frozen=True, slots=True)
class LeaveRequested:
    """The instance shall be out of its load balancer, and have its connections closed.

    None is asked to close within `lead` seconds from when it went out; whoever `waits` does so for
    `within` seconds at the most, or `math.inf`.
    """

    request: RequestId
    lead: float
    within: float = math.inf
    waits: bool = True
    by: Requester = UNKNOWN_REQUESTER


@dataclass(frozen=True, slots=True)
class JoinRequested:
    """It shall be back in its load balancer."""

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
    """The worker itself said that it can serve."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class LibraryConnected:
    """It uses the library. `closes`, `releases_sockets`: what it can be asked for."""

    worker: WorkerId
    closes: bool
    releases_sockets: bool


@dataclass(frozen=True, slots=True)
class LibraryDisconnected:
    """Its channel is closed: from now on it is a worker like those without the library."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerAlive:
    """A sign of life: its event loop runs."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerCounted:
    """How many connections it has by its own account."""

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
    """A try was in vain, and there will be another; `reason` completes: it ..."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class SlotReleased:
    """No process of the worker's tree holds its slot any more."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """No process of the worker's tree is left.

    `advice`: what to do about it, where its last words tell.
    """

    worker: WorkerId
    exit: Exit
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class MainProcessEnded:
    """The worker's main process has ended, and members of its tree are left.

    Posted at once and at least once; `WorkerExited` follows when the last member has gone. `advice`
    as there.
    """

    worker: WorkerId
    exit: Exit
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class LeftoverJudged:
    """`serves`: what is left of the worker accepts connections, or has accepted those it holds."""

    worker: WorkerId
    serves: bool


@dataclass(frozen=True, slots=True)
class Steered:
    epoch: int


@dataclass(frozen=True, slots=True)
class SteerFailed:
    """The table of this epoch is not in force; the one before it is, on every listener."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True)
class SlotsReordered:
    """Group indexes moved; `slots` is the new index order of the listener."""

    listener: str
    slots: tuple[SlotId, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Accept-queue lengths, and the last steering epoch whose handshakes are all over.

    The handshakes were read before the queues: what leaves the one is seen in the other. `deaf`:
    slots that no client reaches, as a worker locked a packet filter on them. `occupied`: slots with
    a process that belongs to no worker we know.
    """

    queues: Mapping[SlotId, int]
    handshakes_over: int
    deaf: frozenset[SlotId] = frozenset()
    occupied: AbstractSet[SlotId] = frozenset()


@dataclass(frozen=True, slots=True)
class CensusTaken:
    """Live connections by worker; `unattributed` ones belong to no worker we know.

    `began_at` is when the round began, monotonic seconds: a worker that began to drain after that
    is not judged by it. `listening`: the slots that each worker's tree holds. `held_up`: stalled
    workers with a thread that waits for one of their clients to send, or to read.
    """

    counts: Mapping[WorkerId, int]
    unattributed: int
    began_at: float
    listening: Mapping[WorkerId, AbstractSet[SlotId]] = field(default_factory=dict)
    held_up: AbstractSet[WorkerId] = frozenset()


@dataclass(frozen=True, slots=True)
class Reexecuted:
    """The supervisor has become another program, in the same process; both by version."""

    version: str
    before: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """A new supervisor goes on with what one that died had decided, and left behind.

    `running`: the pid of each worker of which a process lives. `gone`: how the others ended.
    `undone`: what the last step wanted of workers, all, some or none of which was done.
    `exchanged`: slots that were lost with the supervisor, each with the one in its place.
    """

    version: str
    before: str
    running: Mapping[WorkerId, int]
    gone: Mapping[WorkerId, Exit]
    undone: tuple[Order, ...] = ()
    exchanged: Mapping[SlotId, SlotId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened but time."""


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
"""What is answered exactly once, where it has a `request`."""

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
