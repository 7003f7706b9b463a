"""Actions of the fleet, in the imperative. Each result comes back as an event."""

from collections.abc import Mapping
from dataclasses import dataclass

from wssupervisor.fleet.model import Check, Release, RequestId, SlotId, Table, WorkerId
from wssupervisor.fleet.notes import Note
from wssupervisor.fleet.orders import Order


@dataclass(frozen=True, slots=True)
class Resolve:
    """Read the configuration and pin the release: `ReleaseResolved` or `ReleaseRefused`."""

    reload: int


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start the worker on these slots (listener name to slot): `Spawned` or `SpawnFailed`."""

    worker: WorkerId
    release: Release
    slots: Mapping[str, SlotId]
    watchdog: float = 0.0
    """The longest time in seconds between two heartbeats; 0: none expected."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Connect to each slot of the worker until it accepts: `ProbePassed`, or `ProbeFailed`.

    With a `check`, also send that request until the worker answers as expected. Each failed try
    is a `ProbeTried`. The probe has no time limit: the fleet ends a worker that takes too long.
    """

    worker: WorkerId
    slots: Mapping[str, SlotId]
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class PendingCutover:
    """The cutover that a table completes: the reload, and its candidate's workers and slots.

    Each worker must listen on its slots only: a worker that bound the address itself would take
    connections that are steered to other workers.
    """

    reload: int
    workers: Mapping[WorkerId, Mapping[str, SlotId]]


@dataclass(frozen=True, slots=True)
class Steer:
    """Put the whole table in force on every listener or on none: `Steered` or `SteerFailed`.

    `cutover`: what the table completes; its workers are checked before the table is in force.
    """

    epoch: int
    table: Table
    cutover: PendingCutover | None = None


@dataclass(frozen=True, slots=True)
class JudgeLeftover:
    """Find out whether the rest of the worker's tree serves: `LeftoverJudged`.

    `drain_signalled`: the worker was asked to stop accepting, so not accepting proves nothing.
    """

    worker: WorkerId
    slots: Mapping[str, SlotId]
    drain_signalled: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """A reload has begun, and no requester waits for its verdict."""

    reload: int


@dataclass(frozen=True, slots=True)
class CutOver:
    reload: int
    generation: int
    replaced: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """`code`: one of errors.py. `of`: the worker whose last lines explain the failure."""

    code: str
    reason: str
    reload: int | None = None
    of: WorkerId | None = None


@dataclass(frozen=True, slots=True)
class DrainChanged:
    """`seconds`: time left until the limit; None without a limit, or while the drain is paused."""

    generation: int
    workers: int
    connections: int
    paused: bool
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Scaled:
    workers: int
    before: int


@dataclass(frozen=True, slots=True)
class Left:
    """Out of the load balancer for `seconds`. `empty`: no connection is left.

    `asks_in`: seconds until the first connections are closed.
    """

    connections: int
    empty: bool
    seconds: float
    asks_in: float


@dataclass(frozen=True, slots=True)
class Joined:
    """Back in the load balancer. `seconds`: how long it was out; None: it was in."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Stopped:
    pass


@dataclass(frozen=True, slots=True)
class Begun:
    """The waiting request has begun this reload or rollback; its answer follows."""

    request: RequestId
    reload: int


Outcome = Accepted | CutOver | Failed | DrainChanged | Scaled | Left | Joined | Stopped


@dataclass(frozen=True, slots=True)
class Answer:
    """The one answer to a request."""

    request: RequestId
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Quit:
    """Nothing is left: end the daemon with this status. `reason`: of a failure."""

    status: int
    reason: str | None = None
    of: WorkerId | None = None


Action = Resolve | Spawn | Probe | JudgeLeftover | Steer | Order | Begun | Answer | Note | Quit
