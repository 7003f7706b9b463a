"""What the fleet knows and has decided: plain mutable data, changed only by the core."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from wssupervisor.fleet.counters import Counters
from wssupervisor.fleet.events import Requester
from wssupervisor.fleet.model import (
    Exit,
    GenerationState,
    Listener,
    Policy,
    Release,
    RequestId,
    SlotId,
    Table,
    WorkerId,
    WorkerState,
)


@dataclass(slots=True)
class Drain:
    """The drain of one worker. Instants are monotonic. `deadline` None: no limit."""

    since: float
    keep_until: float
    deadline: float | None
    close_over: float | None = None
    """Seconds to spread the closes over at the deadline; None: as configured."""
    empty_rounds: int = 0
    """Consecutive counts that found no connection left, and none on its way."""
    signalled: bool = False
    """The worker was sent `drain.signal`, and may have stopped accepting for good."""
    still_listens: bool = False
    """In shared mode: the worker has not released the listener, and may get new connections."""
    paused_at: float | None = None
    """Until the drain is resumed nothing ends the worker, and its limit does not advance."""
    held_for_rollback: bool = False
    """Nothing ends the worker until the rollback under way, which may need it, has ended."""


@dataclass(slots=True)
class Leftover:
    """What is left of a worker whose main process has ended by `exit`.

    `stop_signalled`: the rest was sent the stop signal. `connections`: their number when the main
    process ended. `serves`: None until judged.
    """

    exit: Exit
    stop_signalled: bool
    connections: int
    serves: bool | None = None


@dataclass(slots=True)
class ReleasingSockets:
    """A worker was asked to release its shared listener. `holds`: whether it still had the listener
    at the last census since then; None: no census. `late`: it should have released it by then."""

    asked_at: float
    holds: bool | None = None
    late: bool = False


@dataclass(slots=True)
class Worker:
    """One living process tree. Instants are None if that limit does not apply."""

    id: WorkerId
    slots: dict[str, SlotId]
    state: WorkerState
    spawned_at: float
    ready_by: float | None = None
    sweeper: bool = False
    pid: int | None = None
    ready_at: float | None = None
    connections: int = 0
    drain: Drain | None = None
    kill_at: float | None = None
    closes_on_request: bool = False
    """It uses the library, and closes its connections on request."""
    releases_sockets: bool = False
    """It uses the library, and releases shared sockets when it has to drain."""
    reported: int | None = None
    """Connections as the worker counts them: trusted only to its own disadvantage."""
    closing_by: float | None = None
    """It was asked to close all connections, and gets the stop signal then."""
    watchdog: float = 0.0
    """The longest time in seconds between two heartbeats; 0: none expected."""
    alive_at: float | None = None
    """Its last heartbeat; None if it has never sent one."""
    unresponsive_since: float | None = None
    """It is out of rotation, because it has sent no heartbeat for too long."""
    last_probe_error: str | None = None
    """The reason of the last failed probe, while it is not ready."""
    reason: str | None = None
    """Why we ended it, if the exit status does not show that."""
    forced: int = 0
    """Its connections when they were closed early, or when it was asked to end."""
    releasing: ReleasingSockets | None = None
    sweeps: SlotId | None = None
    """For a sweeper: the slot whose queue it was started for."""
    stalled_since: float | None = None
    """It is out of rotation, because its queue has not moved since then; until it accepts again."""
    stalled_with: int | None = None
    """Its connections at the last census since then. More at the next one mean that it accepts."""
    held_up_at: float | None = None
    """The last census that found it stalled, with a thread waiting for a slow client."""
    gave_way_at: float | None = None
    """When another worker took its seat, because it did not accept. At most one per seat lives."""
    asked_until: float | None = None
    """While the instance is out of rotation: its connections are being closed until then."""
    rest_at: float | None = None
    """When the rest of its tree gets the stop signal, unless the main process has ended."""
    leftover: Leftover | None = None
    """Set after its main process has ended, while other processes of its tree live."""
    lacks_slots: bool = False
    """It is ready, and at the last census its tree no longer held all of its slots."""


@dataclass(slots=True)
class Seat:
    """A place for one worker of a generation. It keeps its slots while its worker is replaced."""

    index: int
    slots: dict[str, SlotId]
    incarnation: int = 1
    worker: WorkerId | None = None
    failures: int = 0
    retry_at: float | None = None
    reason: str | None = None
    """How its last worker ended."""
    stands_in_for: WorkerId | None = None
    """A stalled worker that `worker` will replace. It gets the seat back if it accepts before
    `worker` is ready; until then new connections for the seat go to its slots."""
    replacements: int = 0
    """Replacements for stalled workers in quick succession. `replaced_at`: the last one."""
    replaced_at: float | None = None
    not_replaced: WorkerId | None = None
    """The stalled worker that was reported as getting no replacement now."""


@dataclass(slots=True)
class Generation:
    number: int
    release: Release
    policy: Policy
    state: GenerationState
    started_at: float
    seats: list[Seat] = field(default_factory=list)
    workers: dict[WorkerId, Worker] = field(default_factory=dict)
    incarnations: dict[int, int] = field(default_factory=dict)
    """The next incarnation of each used index that has no seat now."""
    sweepers: int = 0
    """The number of sweepers so far. The index of the next is `FIRST_SWEEPER` plus this."""
    sweep_failures: int = 0
    sweep_at: float | None = None
    """After a failed sweeper: no other one before this instant."""
    drain_since: float | None = None
    active_since: float | None = None
    """Its latest cutover; None before the first."""
    connections_at_start: int = 0
    forced: int = 0
    """Those of `connections_at_start` closed because a limit or an operator ended its workers."""
    lost: int = 0
    """Those of `connections_at_start` whose workers ended unexpectedly."""


FIRST_SWEEPER = 1000
"""Index of the first sweeper of a generation, above those of all seats."""


class ReloadKind(Enum):
    START = "start"
    RELOAD = "reload"
    ROLLBACK = "rollback"


class ReloadPhase(Enum):
    RESOLVING = "resolving"
    MAKING_ROOM = "making-room"
    STARTING = "starting"
    RELEASING_SOCKETS = "releasing-sockets"
    """Its workers are ready; the old ones were asked to release a shared listener."""
    CUTTING = "cutting"


@dataclass(frozen=True, slots=True)
class Pinned:
    """The release and policy of a generation: enough to run it again."""

    number: int
    release: Release
    policy: Policy


@dataclass(slots=True)
class Reload:
    """The attempt under way. The start of the instance is one too; its failure ends the daemon."""

    id: int
    kind: ReloadKind
    request: RequestId | None
    began_at: float
    deadline: float
    phase: ReloadPhase
    make_room: bool = False
    generation: int | None = None
    waiting: Pinned | None = None
    """What will be started as soon as there is room. Its number is not assigned yet."""
    by: Requester | None = None
    """The caller that waits. Only its disconnect cancels the reload."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the last reload ended. `of`: the worker whose output explains a failure."""

    reload: int
    kind: ReloadKind
    ok: bool
    generation: int | None
    replaced: int | None
    reason: str | None
    of: WorkerId | None
    began_at: float
    seconds: float


@dataclass(slots=True)
class Steering:
    """`current`: the table in force; None: unknown. `in_flight`: requested and not answered yet; at
    most one at a time.
    """

    epoch: int = 0
    current: Table | None = None
    in_flight: Table | None = None
    retry_at: float | None = None
    handshakes_over: int = 0


@dataclass(slots=True)
class SlotWatch:
    """The last observation of a slot. `seen_at` None: none since its last holder ended.

    `left_epoch`: the steering epoch whose table no longer names it.
    """

    queued: int = 0
    stuck_since: float | None = None
    seen_at: float | None = None
    left_epoch: int = 1
    moved_at: float | None = None
    """When its queue was last seen empty, or shorter than before."""
    deaf: bool = False
    """No client can ever reach it: no worker gets it while another slot is free."""
    occupied: bool = False
    """A process that belongs to no known worker holds it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The number of workers that an operator requested, while the file says `instead_of`."""

    workers: int
    instead_of: int


@dataclass(slots=True)
class OutOfRotation:
    """The instance is out of its load balancer, requested by `by`.

    `deadline`: the instant at which waiting ends; None: no limit.
    """

    since: float
    by: str | None
    asks_from: float
    """No connection is closed before this instant: the load balancer may not have noticed."""
    deadline: float | None = None
    waiting: list[RequestId] = field(default_factory=list)
    empty_rounds: int = 0
    """Consecutive counts that found no connection."""
    emptied_at: float | None = None
    """When no connection was left. New ones may have come since."""


@dataclass(slots=True)
class Stop:
    request: RequestId | None
    deadline: float
    status: int = 0
    reason: str | None = None
    of: WorkerId | None = None


@dataclass(slots=True)
class State:
    listeners: dict[str, Listener]
    policy: Policy = field(default_factory=Policy)
    generations: dict[int, Generation] = field(default_factory=dict)
    last_generation: int = 0
    last_reload: int = 0
    reload: Reload | None = None
    verdict: Verdict | None = None
    lineage: list[Pinned] = field(default_factory=list)
    """What was active before the active generation, latest last: the targets of rollbacks."""
    scaled: Scale | None = None
    steering: Steering = field(default_factory=Steering)
    slots: dict[SlotId, SlotWatch] = field(default_factory=dict)
    out_of_rotation: OutOfRotation | None = None
    stop: Stop | None = None
    quit: bool = False
    started_at: float = 0.0
    counters: Counters = field(default_factory=Counters)

    def workers(self) -> Iterator[Worker]:
        for generation in self.generations.values():
            yield from generation.workers.values()

    def worker(self, worker_id: WorkerId) -> Worker | None:
        generation = self.generations.get(worker_id.generation)
        return None if generation is None else generation.workers.get(worker_id)

    def in_state(self, state: GenerationState) -> list[Generation]:
        return [generation for generation in self.generations.values() if generation.state is state]

    @property
    def active(self) -> Generation | None:
        for generation in self.generations.values():
            if generation.state is GenerationState.ACTIVE:
                return generation
        return None

    def workers_wanted(self, policy: Policy) -> int:
        """Return the number of workers for a generation with this policy."""
        if self.scaled is not None and self.scaled.instead_of == policy.workers:
            return self.scaled.workers
        return policy.workers

    def shared(self, slot: SlotId) -> bool:
        """Whether all workers of all generations share this slot."""
        return any(listener.shared == slot for listener in self.listeners.values())

    @property
    def candidate(self) -> Generation | None:
        """The generation that the reload under way has started; None before that."""
        if self.reload is None or self.reload.generation is None:
            return None
        return self.generations[self.reload.generation]
