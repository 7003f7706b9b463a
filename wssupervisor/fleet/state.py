"""What the fleet knows and has decided: plain mutable data, changed by core and worker only."""

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
    """One worker's drain; instants monotonic. `deadline` None: as long as it takes."""

    since: float
    keep_until: float
    deadline: float | None
    close_over: float | None = None
    """How long its connections may take to be closed at the deadline; None: as configured."""
    empty_rounds: int = 0
    """Censuses in a row that found nothing left of the worker's work."""
    signalled: bool = False
    """It was sent `drain.signal`: it may have stopped accepting for good."""
    still_listens: bool = False
    """In shared mode: it has not let the listener go, and may get new connections."""
    paused_at: float | None = None
    """Until it is resumed nothing ends the worker, and its limit stands still."""
    held_for_rollback: bool = False
    """A roll back under way wants to have it: the same until that has ended."""


@dataclass(slots=True)
class Leftover:
    """What is left of a worker whose main process has ended by `exit`.

    `stop_signalled`: it was sent the stop signal, then or since. `connections`: how many it had
    when that process ended. `serves`: None until it is judged.
    """

    exit: Exit
    stop_signalled: bool
    connections: int
    serves: bool | None = None


@dataclass(slots=True)
class LettingGo:
    """It was told to let its shared listener go. `holds`: it had it at the last census since then,
    None: there was none; `late`: and ought to have let go by then."""

    asked_at: float
    holds: bool | None = None
    late: bool = False


@dataclass(slots=True)
class Worker:
    """One living process tree; instants are None where that limit does not apply."""

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
    """It uses the library: it closes its connections when it is asked to, and can be talked to."""
    releases_sockets: bool = False
    """And lets the sockets go that it shares with others, when it is told to drain."""
    reported: int | None = None
    """Its connections by its own account: to be believed only to its own harm."""
    closing_by: float | None = None
    """It was asked to close all its connections, and is told to end then."""
    watchdog: float = 0.0
    """Within so many seconds it shall give a sign of life, if it ever does; 0: need not."""
    alive_at: float | None = None
    """Its last sign of life; None for one that has never given any."""
    unresponsive_since: float | None = None
    """It is steered away from, as it has given no sign of life for too long."""
    last_probe_error: str | None = None
    """What was wrong the last time that it was probed, and it is not ready yet."""
    reason: str | None = None
    """Why we ended it, where that is not to be read off its exit status."""
    forced: int = 0
    """Connections that it had when they were closed on it, or it was told to end."""
    releasing: LettingGo | None = None
    sweeps: SlotId | None = None
    """Of a sweeper: whose queue it was started for."""
    stalled_since: float | None = None
    """It is steered away from, as its queue has not moved since then; ends with its next accept."""
    stalled_with: int | None = None
    """Its connections at the last census that began after that; more at the next are accepted."""
    held_up_at: float | None = None
    """The last census that found it stalled and waiting for its own clients: they are slow."""
    gave_way_at: float | None = None
    """Another worker took its seat then, as it did not accept; one a seat may live at a time."""
    asked_until: float | None = None
    """While the instance is out: its connections were asked to close, spread until then."""
    rest_at: float | None = None
    """When the rest of its tree is told to end, too, unless its main process has ended by then."""
    leftover: Leftover | None = None
    """Its main process has ended, and members of its tree are left."""


@dataclass(slots=True)
class Seat:
    """A place for one worker of a generation: keeps its slots while its worker is replaced."""

    index: int
    slots: dict[str, SlotId]
    incarnation: int = 1
    worker: WorkerId | None = None
    failures: int = 0
    retry_at: float | None = None
    reason: str | None = None
    """How its last worker ended."""
    stands_in_for: WorkerId | None = None
    """A stalled worker that `worker` is to replace; it has the seat back if it accepts before that
    is ready, and until then what is steered to the seat goes to its slots."""
    replacements: int = 0
    """How many were started for stalled workers, one soon after the other: the last when?"""
    replaced_at: float | None = None
    not_replaced: WorkerId | None = None
    """The stalled worker of which it was reported that it gets no replacement now."""


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
    """The next incarnation of each index that was used before and has no seat now."""
    sweepers: int = 0
    """How many there have been: the next one's index is `FIRST_SWEEPER` and so many."""
    sweep_failures: int = 0
    sweep_at: float | None = None
    """No sweeper before this instant, after one that failed."""
    drain_since: float | None = None
    active_since: float | None = None
    """Its latest cutover; None for one that has not had any."""
    connections_at_start: int = 0
    forced: int = 0
    """Of those the ones closed because a limit, or somebody, wanted its workers to end."""
    lost: int = 0
    """And those of workers that ended without being told to."""


FIRST_SWEEPER = 1000
"""Index of a generation's first sweeper: above all seats'."""


class ReloadKind(Enum):
    START = "start"
    RELOAD = "reload"
    ROLLBACK = "rollback"


class ReloadPhase(Enum):
    RESOLVING = "resolving"
    MAKING_ROOM = "making-room"
    STARTING = "starting"
    RELEASING_SOCKETS = "releasing-sockets"
    """Its workers are ready; the old ones were told to let a shared listener go."""
    CUTTING = "cutting"


@dataclass(frozen=True, slots=True)
class Pinned:
    """What a generation runs, and how; enough to run it again."""

    number: int
    release: Release
    policy: Policy


@dataclass(slots=True)
class Reload:
    """The attempt under way. The instance's own start is one, too: its failure ends the daemon."""

    id: int
    kind: ReloadKind
    request: RequestId | None
    began_at: float
    deadline: float
    phase: ReloadPhase
    make_room: bool = False
    generation: int | None = None
    waiting: Pinned | None = None
    """What is started as soon as there is room for it; its number is not given out yet."""
    by: Requester | None = None
    """The caller that waits for it; only that one may cancel it by leaving."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the last reload ended; `of`: the worker whose output explains a failure."""

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
    """`current` is in force, None: nobody knows what is; `in_flight` was asked for and not answered
    yet; one at a time.
    """

    epoch: int = 0
    current: Table | None = None
    in_flight: Table | None = None
    retry_at: float | None = None
    handshakes_over: int = 0


@dataclass(slots=True)
class SlotWatch:
    """What was seen of a slot, and when; None: nothing since its last holder left.

    `left_epoch`: the steering epoch that ceased to name it.
    """

    queued: int = 0
    stuck_since: float | None = None
    seen_at: float | None = None
    left_epoch: int = 1
    moved_at: float | None = None
    """When it was last seen empty, or shorter than at the look before."""
    deaf: bool = False
    """No client reaches it, for ever: it is given to no worker while there is another one."""
    occupied: bool = False
    """A process holds it that belongs to no worker we know."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How many workers somebody asked for, as long as the file wants `instead_of`."""

    workers: int
    instead_of: int


@dataclass(slots=True)
class Out:
    """The instance is out of its load balancer, since an operator, `by`, wanted it to leave.

    `deadline`: the instant at which nobody waits any longer; None: there is no limit.
    """

    since: float
    by: str | None
    asks_from: float
    """No connection is asked to close before: the load balancer may not know yet."""
    deadline: float | None = None
    waiting: list[RequestId] = field(default_factory=list)
    empty_rounds: int = 0
    """Censuses in a row that found nobody connected."""
    emptied_at: float | None = None
    """When nobody was connected any more; some may have come since."""


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
    """What was active before the active generation, the latest last: where roll backs lead."""
    scaled: Scale | None = None
    steering: Steering = field(default_factory=Steering)
    slots: dict[SlotId, SlotWatch] = field(default_factory=dict)
    out_of_rotation: Out | None = None
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
        return [one for one in self.generations.values() if one.state is state]

    @property
    def active(self) -> Generation | None:
        return next(iter(self.in_state(GenerationState.ACTIVE)), None)

    def workers_wanted(self, policy: Policy) -> int:
        """Of a generation with this policy."""
        if self.scaled is not None and self.scaled.instead_of == policy.workers:
            return self.scaled.workers
        return policy.workers

    def shared(self, slot: SlotId) -> bool:
        """All workers of all generations have this slot."""
        return any(one.shared == slot for one in self.listeners.values())

    @property
    def candidate(self) -> Generation | None:
        """The generation that the reload under way has started, if it has come so far."""
        if self.reload is None or self.reload.generation is None:
            return None
        return self.generations[self.reload.generation]
