"""A fleet that tests drive: each event in, what the fleet does about it out."""

from collections.abc import Iterable
from dataclasses import replace

from tests.harness.reference import events
from wssupervisor.fleet.actions import Action, Answer, Begun, Failed, PendingCutover, Spawn, Steer
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    CensusTaken,
    Event,
    LibraryConnected,
    Observed,
    ProbePassed,
    ReleaseResolved,
    ReloadRequested,
    Spawned,
    StartRequested,
    Steered,
    TimePassed,
    WorkerReady,
)
from wssupervisor.fleet.model import (
    InstanceState,
    Listener,
    Policy,
    ReadyBy,
    Release,
    Table,
    WorkerId,
)
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.proof import BY_PROBE
from wssupervisor.fleet.state import State, Worker
from wssupervisor.fleet.view import view

A = Release(("chat",), "/srv/41")
B = Release(("chat",), "/srv/42")
SLOTS = tuple(range(10, 20))
PARKING = SLOTS[-1]
FIELDS = events("events.md")
"""By kind of note, as docs/reference lists them."""
POLICY = Policy(workers=2, ready_by=ReadyBy.NOTIFY, stable=1.0, keep=5.0)


def worker(generation: int, index: int = 0, incarnation: int = 1) -> WorkerId:
    return WorkerId(generation, index, incarnation)


def steered(*slots: int) -> Table:
    return Table({"ws": dict.fromkeys(slots, 1)})


class Driven:
    """Notes, names of reloads that are waited for, and cutovers are kept apart from actions."""

    def __init__(self, policy: Policy = POLICY, slots: tuple[int, ...] = SLOTS) -> None:
        self.policy = policy
        self.core = Fleet([Listener("ws", slots)])
        self.queues = dict.fromkeys(slots, 0)
        self.notes: list[Note] = []
        self.cutovers: list[PendingCutover | None] = []
        """What each table that was asked for completes."""

    def handle(self, event: Event, now: float) -> list[Action]:
        actions = self.core.handle(event, now)
        notes = [one for one in actions if isinstance(one, Note)]
        for note in notes:
            assert note.fields.keys() <= FIELDS[note.kind.value], note
        self.notes += notes
        left = [one for one in actions if not isinstance(one, Note | Begun)]
        self.cutovers += [one.cutover for one in left if isinstance(one, Steer)]
        return [replace(one, cutover=None) if isinstance(one, Steer) else one for one in left]

    def look(self, now: float, **queued: int) -> list[Action]:
        """Queue lengths by slot, as slot_10=3; all handshakes are over."""
        self.queues |= {int(name.removeprefix("slot_")): count for name, count in queued.items()}
        epoch = self.state.steering.epoch
        return self.handle(Observed(dict(self.queues), epoch), now)

    def census(self, now: float, counts: dict[WorkerId, int], strays: int = 0) -> list[Action]:
        return self.handle(CensusTaken(counts, strays, began_at=now), now)

    def spawn_all(self, actions: Iterable[Action], now: float) -> None:
        for action in actions:
            if isinstance(action, Spawn):
                self.handle(Spawned(action.worker, 1000 + action.worker.index), now)

    def steer(self, actions: Iterable[Action], now: float) -> list[Action]:
        (found,) = [one for one in actions if isinstance(one, Steer)]
        return self.handle(Steered(found.epoch), now)

    def steer_any(self, actions: list[Action], now: float) -> list[Action]:
        """The same, where they steer at all."""
        for one in actions:
            if isinstance(one, Steer):
                self.handle(Steered(one.epoch), now)
        return actions

    def make_ready(self, generation: int, now: float) -> list[Action]:
        event = ProbePassed if self.policy.ready_by in BY_PROBE else WorkerReady
        return [
            action
            for index in range(self.policy.workers)
            for action in self.handle(event(worker(generation, index)), now)
        ]

    def begin_reload(self, now: float, request: int | None = 1) -> None:
        """A reload whose candidate has pids."""
        self.handle(ReloadRequested(request), now)
        reload = self.state.last_reload
        self.spawn_all(self.handle(ReleaseResolved(reload, B, self.policy), now), now)

    def deploy(self, generation: int, now: float) -> list[Action]:
        """A reload that succeeds within its second of `stable`; what follows from its cutover."""
        self.begin_reload(now, request=None)
        self.make_ready(generation, now)
        done = self.steer(self.handle(TimePassed(), now + 1), now + 1)
        self.look(now + 1)
        return done

    def shown_state(self, now: float) -> InstanceState:
        return view(self.state, now).state

    @property
    def state(self) -> State:
        return self.core.state

    def next_deadline(self) -> float | None:
        return self.core.next_deadline()

    def living(self, worker_id: WorkerId) -> Worker:
        found = self.state.worker(worker_id)
        assert found is not None
        return found

    def fields(self, kind: NoteKind) -> list[dict[str, object]]:
        """Of all notes of this kind, the oldest first."""
        return [dict(one.fields) for one in self.notes if one.kind is kind]


def starting(policy: Policy = POLICY, slots: tuple[int, ...] = SLOTS) -> Driven:
    """Generation 1 has pids and is not ready; everything is parked. It is second 1."""
    return _started(Driven(policy, slots), policy)


def serving(policy: Policy = POLICY, slots: tuple[int, ...] = SLOTS) -> Driven:
    """Generation 1 is active. It is second 3."""
    return _served(Driven(policy, slots), policy)


def _started(fleet: Driven, policy: Policy) -> Driven:
    fleet.steer(fleet.look(0), 0)
    fleet.look(0)
    fleet.spawn_all(fleet.handle(StartRequested(A, policy), 1), 1)
    return fleet


def _served(fleet: Driven, policy: Policy) -> Driven:
    _started(fleet, policy)
    fleet.make_ready(1, 1)
    fleet.steer(fleet.handle(TimePassed(), 2), 2)
    fleet.look(3)
    return fleet


def draining(policy: Policy = POLICY) -> Driven:
    """Generation 2 is active and generation 1 drains since second 12."""
    fleet = serving(policy)
    fleet.begin_reload(10)
    fleet.make_ready(2, 11)
    fleet.steer(fleet.handle(TimePassed(), 12), 12)
    fleet.look(12)
    return fleet


STALLS = replace(POLICY, workers=1, accept_stall=2.0, replace_stalled=10.0)


def looks(fleet: Driven, begin: float, end: float, **queued: int) -> list[Action]:
    """Look twice a second, the queues as they are; all that was wanted at those looks."""
    found = fleet.look(begin, **queued)
    for half in range(1, int((end - begin) * 2) + 1):
        found += fleet.look(begin + half / 2)
    return found


def spawns(actions: Iterable[Action]) -> list[Spawn]:
    return [one for one in actions if isinstance(one, Spawn)]


def library(worker_id: WorkerId, *, releases_sockets: bool = False) -> LibraryConnected:
    """The worker uses the library: it closes its connections when it is asked to."""
    return LibraryConnected(worker_id, closes=True, releases_sockets=releases_sockets)


def failures(actions: Iterable[Action]) -> list[str]:
    """The reasons of the answers that are failures."""
    answers = [one.outcome for one in actions if isinstance(one, Answer)]
    return [one.reason for one in answers if isinstance(one, Failed)]


def with_second_listener(
    raw: tuple[int, ...], policy: Policy = POLICY, ws: tuple[int, ...] = SLOTS
) -> Driven:
    """Generation 1 is active on these slots of "ws" and of "raw". It is second 3."""
    fleet = Driven(policy)
    fleet.core = Fleet([Listener("ws", ws), Listener("raw", raw)])
    fleet.queues = dict.fromkeys((*ws, *raw), 0)
    return _served(fleet, policy)


def shared(policy: Policy = POLICY) -> Driven:
    """Generation 1 is active on the one slot 10. It is second 3."""
    fleet = Driven(policy, (10,))
    fleet.core = Fleet([Listener("ws", (10,), shared=10)])
    return _served(fleet, policy)


SIGNALLED = replace(POLICY, drain_signal="SIGUSR1", keep=0.0)
