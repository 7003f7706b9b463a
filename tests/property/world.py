"""A kernel, a clock and workers for the fleet to live in: plain data, truthful, and mean."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from wssupervisor.fleet.actions import (
    Action,
    Answer,
    JudgeLeftover,
    Probe,
    Quit,
    Resolve,
    Spawn,
    Steer,
)
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    CensusTaken,
    Event,
    LeftoverJudged,
    MainProcessEnded,
    Observed,
    ProbeFailed,
    ProbePassed,
    ReleaseRefused,
    ReleaseResolved,
    Spawned,
    SpawnFailed,
    Steered,
    SteerFailed,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    Exit,
    Listener,
    Policy,
    ReadyBy,
    Release,
    SlotId,
    Table,
    WorkerId,
)
from wssupervisor.fleet.notes import Note
from wssupervisor.fleet.orders import (
    AskToClose,
    AskToLeave,
    FreeClients,
    Kill,
    SendDrain,
    SendResume,
    SendStay,
    Signal,
)

LATE = (Spawn, Steer, Probe, JudgeLeftover, Resolve)
"""Actions whose result may come late, out of order, or be a failure."""


@dataclass
class Process:
    worker: WorkerId
    slots: dict[str, SlotId]
    listening: bool = True
    """It has its slot of a shared listener, and polls it."""
    closed: bool = False
    """It has closed all of its listening sockets, and will not open them again."""
    accepting: bool = True
    connections: int = 0
    joined: bool = False
    """It uses the library."""
    asked_to_close: bool = False
    asked_to_leave: bool = False
    signs: bool = False
    """It gives signs of life."""
    told_to_end: bool = False
    killed: bool = False
    main_ended: bool = False
    """Others of its tree are left; `accepting` is what they do."""


@dataclass
class World:
    listeners: dict[str, Listener]
    policy: Policy
    obedient: bool = True
    """Workers let a shared listener go when they are sent `drain.signal`."""
    now: float = 100.0
    queues: dict[SlotId, int] = field(default_factory=dict)
    handshakes: list[tuple[SlotId, int]] = field(default_factory=list)
    """(slot, steering epoch in force when it began)."""
    processes: dict[WorkerId, Process] = field(default_factory=dict)
    table: Table | None = None
    believed: Table | None = None
    """What the supervisor takes for the table in force: after its death another one may be."""
    epoch: int = 0
    pending: list[Action] = field(default_factory=list)
    answers: dict[int, list[Answer]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    quit: Quit | None = None
    next_pid: int = 1000
    occupied: set[SlotId] = field(default_factory=set)
    """Slots with a process that belongs to no worker."""

    def __post_init__(self) -> None:
        self.queues = {slot: 0 for one in self.listeners.values() for slot in one.slots}

    @property
    def proof(self) -> type[Spawned | WorkerReady | ProbePassed]:
        """What makes a worker ready here, and nothing else does."""
        match self.policy.ready_by:
            case ReadyBy.DELAY:
                return Spawned
            case ReadyBy.NOTIFY:
                return WorkerReady
            case ReadyBy.CONNECT | ReadyBy.HTTP | ReadyBy.WEBSOCKET:
                return ProbePassed

    # -- what the fleet wants ---------------------------------------------------------------

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Spawn() | Steer() | Probe() | JudgeLeftover() | Resolve():
                    self.pending.append(action)
                case Signal(worker=worker_id, name=name):
                    process = self.processes[worker_id]  # a KeyError: a signal to no process
                    process.told_to_end |= name == self.policy.stop_signal
                    process.listening &= not (self.obedient and name == self.policy.drain_signal)
                case FreeClients(worker=worker_id):
                    assert self.processes[worker_id].main_ended
                    self.processes[worker_id].connections = 0
                case Kill(worker=worker_id):
                    self.processes[worker_id].killed = True
                case SendDrain(worker=worker_id, stop_accepting=stop):
                    self.tell_to_close_no_more(worker_id)
                    self.processes[worker_id].listening &= not stop
                case SendResume(worker=worker_id) | SendStay(worker=worker_id):
                    self.tell_to_close_no_more(worker_id)
                case AskToLeave(worker=worker_id, over=over):
                    assert over >= 0
                    self.tell_to_close_no_more(worker_id)
                    self.processes[worker_id].asked_to_leave = True
                case AskToClose(worker=worker_id, over=over, by=by):
                    assert self.processes[worker_id].joined
                    assert 0 <= over <= by
                    self.processes[worker_id].asked_to_close = True
                case Answer(request=request):
                    self.answers.setdefault(request, []).append(action)
                case Note():
                    self.notes.append(action)
                case Quit():
                    self.quit = action

    def tell_to_close_no_more(self, worker: WorkerId) -> None:
        process = self.processes[worker]
        assert process.joined
        process.asked_to_close = process.asked_to_leave = False

    def complete(self, action: Action, *, works: bool) -> Event | None:
        """Do one late action; its result, or None if it reaches no receiver."""
        self.pending.remove(action)
        match action:
            case Spawn(worker=worker_id, slots=slots):
                if not works:
                    return SpawnFailed(worker_id, "no memory")
                self.processes[worker_id] = Process(worker_id, dict(slots))
                self.next_pid += 1
                return Spawned(worker_id, self.next_pid)
            case Steer(epoch=epoch, table=table):
                if not works:
                    self.table = self.believed  # that is attached again
                    return SteerFailed(epoch, "refused")
                self.table, self.epoch = table, epoch
                self.believed = table
                return Steered(epoch)
            case Probe(worker=worker_id):
                if works and worker_id in self.processes:
                    return ProbePassed(worker_id)
                return ProbeFailed(worker_id, "was never accepted")
            case JudgeLeftover(worker=worker_id):
                process = self.processes.get(worker_id)
                serves = process is not None and process.accepting and not process.closed
                return LeftoverJudged(worker_id, serves)
            case Resolve(reload=reload):
                release = Release(("chat",), f"/srv/{reload}")
                if works:
                    by_client = ("ws",) if reload % 2 else ()
                    return ReleaseResolved(
                        reload, release, replace(self.policy, by_client=by_client)
                    )
                return ReleaseRefused(reload, "command not found")
        raise AssertionError(action)

    def lose_supervisor(self, happened: Callable[[], bool]) -> None:
        """The results of what is under way are lost; a spawn or steering may have happened."""
        believed = self.believed
        for action in list(self.pending):
            if isinstance(action, Spawn | Steer) and happened():
                self.complete(action, works=True)
        self.believed = believed
        self.pending.clear()

    # -- what clients and workers do --------------------------------------------------------

    def slot_for(self, listener: str, choice: int) -> SlotId:
        """Where the kernel sends a new connection: hashed over all slots before any steering."""
        named = (
            self.listeners[listener].slots
            if self.table is None
            else sorted(self.table.weights[listener])
        )
        return named[choice % len(named)]

    def shared(self, slot: SlotId) -> bool:
        return any(one.shared == slot for one in self.listeners.values())

    def finish_handshake(self, index: int) -> None:
        slot, _ = self.handshakes.pop(index)
        self.queues[slot] += 1

    def listens(self, process: Process, slot: SlotId) -> bool:
        return not process.closed and (process.listening or not self.shared(slot))

    def accept(self, process: Process) -> bool:
        for slot in process.slots.values():
            listens = self.listens(process, slot)
            if process.accepting and listens and self.queues[slot]:
                self.queues[slot] -= 1
                process.connections += 1
                return True
        return False

    def exit(self, process: Process) -> WorkerExited:
        del self.processes[process.worker]
        return WorkerExited(process.worker, Exit(status=1))

    def end_main_process(self, process: Process, *, serves: bool) -> MainProcessEnded:
        """Others of the tree are left, that accept or only hold what they inherited."""
        if not process.main_ended:  # who joined since then is another member of its tree
            process.joined = False
        process.main_ended, process.accepting = True, serves
        process.asked_to_close = process.asked_to_leave = False
        return MainProcessEnded(process.worker, Exit(signal="SIGKILL"))

    def observed(self) -> Observed:
        over = min((began for _, began in self.handshakes), default=self.epoch)
        return Observed(dict(self.queues), over, occupied=frozenset(self.occupied))

    def census(self) -> CensusTaken:
        counts = {one.worker: one.connections for one in self.processes.values()}
        listening = {
            one.worker: frozenset(slot for slot in one.slots.values() if self.listens(one, slot))
            for one in self.processes.values()
        }
        held_up = {
            one.worker
            for one in self.processes.values()
            if not one.accepting and one.connections % 2
        }
        return CensusTaken(counts, 0, self.now, listening, held_up)

    def settled(self, fleet: Fleet) -> bool:
        """Nothing is left to happen by itself."""
        return not self.pending and not self.handshakes and fleet.state.reload is None
