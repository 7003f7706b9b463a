"""Two processes, the kernel between them, and clients: what a handoff is played in.

The processes do what giver and taker decide. The kernel keeps queues of messages, lets exactly one
process read each claim, and closes a socket when the last process that holds it has ended.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wssupervisor.worker.handoff import giver_events as giving
from wssupervisor.worker.handoff import taker_events as taking
from wssupervisor.worker.handoff.connection import Connection, Decision, Step
from wssupervisor.worker.handoff.giving import Giver
from wssupervisor.worker.handoff.messages import Batch, Done, FromTaker, Hello, Kind, Refused, Taken
from wssupervisor.worker.handoff.taking import Taker

QUEUE = 2
"""Messages that one direction of the pair holds."""
PART = 1
"""Connections in one message, so that batches have several."""


class Died(Exception):
    """The process was killed between two actions."""


@dataclass(frozen=True, slots=True)
class Part:
    """A message of a batch, with its connections and their claim."""

    message: Batch
    keys: tuple[int, ...]


@dataclass
class Process:
    """What both have. `dies_in`: actions until it is killed, if it is to be."""

    alive: bool = True
    dies_in: int | None = None
    closed: bool = False
    """Whether its end of the pair is closed."""

    def live_on(self) -> None:
        """Raises Died."""
        if self.dies_in is not None:
            self.dies_in -= 1
            if self.dies_in < 0:
                raise Died


@dataclass
class World:
    clients: int
    now: float = 0.0
    to_taker: deque[Part | Done] = field(default_factory=deque)
    to_giver: deque[FromTaker] = field(default_factory=deque)
    claims: dict[int, str] = field(default_factory=dict)
    """Batch -> the process that has read its claim."""
    ended: Counter[int] = field(default_factory=Counter)
    """Handlers that were interrupted, by connection."""
    called: Counter[int] = field(default_factory=Counter)
    """Handlers that were called again."""
    closed: set[int] = field(default_factory=set)
    """Connections whose handler failed, wherever that was."""
    lost: set[int] = field(default_factory=set)
    """Connections whose owner died."""
    left_behind: set[int] = field(default_factory=set)
    """Sent and not claimed when the giver died: the taker may still claim them."""
    batches: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Their connections, also of those that could not be sent."""
    sent: set[int] = field(default_factory=set)
    """Batches whose last message was sent."""

    def __post_init__(self) -> None:
        self.giver = GivingProcess(self)
        self.taker = TakingProcess(self)

    def read_claim(self, batch: int, process: str) -> bool:
        return self.claims.setdefault(batch, process) == process

    def owner(self, key: int) -> "Process | None":
        """The process that owns it in fact. None: it has ended."""
        if key in self.closed or key in self.lost:
            return None
        for batch in reversed(self.batches):
            if key in self.batches[batch] and self.claims.get(batch) == "taker":
                at = self.batches[batch].index(key)
                return self.giver if at in self.taker.left(batch) else self.taker
        return self.giver

    def kill(self, process: Process) -> None:
        """End a process: what it owns is lost, but what is sent completely may still be claimed."""
        owned = {key for key in range(self.clients) if self.owner(key) is process}
        if process is self.giver:
            self.left_behind = {key for key in owned if self._can_be_claimed(key)}
            owned -= self.left_behind
            self.giver.outbox.clear()
        elif not self.giver.alive:
            owned |= self.left_behind
        process.alive = False
        process.closed = True
        self.lost |= owned

    def _can_be_claimed(self, key: int) -> bool:
        if self.giver.step(key) is not Step.FROZEN or not self.taker.alive:
            return False
        last = next((one for one in reversed(self.batches) if key in self.batches[one]), None)
        at = self.batches[last].index(key) if last is not None else 0
        refused = last is not None and at in self.taker.left(last)
        return last is not None and last not in self.claims and last in self.sent and not refused


class GivingProcess(Process):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.giver = Giver(batch_size=3)
        self.holds = set(range(world.clients))
        self.ending: set[int] = set()
        self.cancelled: set[int] = set()
        self.outbox: list[Part] = []
        self.fails_to_send = False

    def step(self, key: int) -> Step:
        if key not in self.holds:
            return Step.GONE
        return Step.CLOSED if key in self.world.closed else self.giver.step(key)

    def tell(self, event: giving.Event) -> None:
        for action in self.giver.handle(event, self.world.now):
            self.live_on()
            self._perform(action)

    def _perform(self, action: giving.Action) -> None:
        match action:
            case giving.Do(key=key, decision=decision):
                self._do(key, decision)
            case giving.SendBatch(batch=batch, keys=keys):
                self.world.batches[batch] = keys
                for at in range(0, len(keys), PART):
                    part = keys[at : at + PART]
                    message = Batch(batch, len(part), more=at + PART < len(keys))
                    self.outbox.append(Part(message, part))
                self.flush()
            case giving.ReadClaim(batch=batch):
                won = self.world.read_claim(batch, "giver")
                if won:
                    self.outbox = [one for one in self.outbox if one.message.id != batch]
                else:
                    self.hear(len(self.world.to_giver))
                self.tell(giving.ClaimRead(batch, won))
            case giving.SendDone():
                if self.world.taker.alive:
                    self.world.to_taker.append(Done())
                self.closed = True

    def _do(self, key: int, decision: Decision) -> None:
        match decision:
            case Decision.END_HANDLER:
                self.world.ended[key] += 1
                self.ending.add(key)
            case Decision.CANCEL_HANDLER:
                assert key not in self.cancelled, "a handler was cancelled twice"
                self.cancelled.add(key)
            case Decision.THAW:
                self.world.called[key] += 1
                self.cancelled.discard(key)
            case Decision.LET_GO:
                self.holds.remove(key)
                self.cancelled.discard(key)
            case _:
                raise AssertionError(decision)

    def flush(self) -> None:
        """Send what has room."""
        while self.outbox and len(self.world.to_taker) < QUEUE:
            if not self.world.taker.alive or self.world.taker.closed or self.fails_to_send:
                self.fails_to_send = False
                batch = self.outbox[0].message.id
                self.outbox = [one for one in self.outbox if one.message.id != batch]
                self.tell(giving.SendFailed(batch, "no room"))
                return
            self.live_on()
            part = self.outbox.pop(0)
            self.world.to_taker.append(part)
            if not part.message.more:
                self.world.sent.add(part.message.id)

    def hear(self, most: int) -> None:
        for _ in range(most):
            if not self.world.to_giver:
                return
            match self.world.to_giver.popleft():
                case Hello(room=room):
                    self.tell(giving.Greeted(room))
                case Refused(id=batch, which=which, why=why):
                    self.tell(giving.RefusedHeard(batch, which, why))
                case Taken(id=batch):
                    self.tell(giving.TakenHeard(batch))

    def look(self) -> None:
        """Hear everything, learn that the taker has gone, and see what time it is."""
        self.flush()
        self.hear(len(self.world.to_giver))
        if self.world.taker.closed and not self.world.to_giver:
            self.tell(giving.TakerGone("its end is closed"))
        if self.giver.deadline() <= self.world.now:
            self.tell(giving.TimePassed())

    def handler_ends(self, key: int, how: str) -> None:
        self.ending.remove(key)
        match how:
            case "failed":
                self.world.closed.add(key)
                self.tell(giving.HandlerFailed(key))
            case _:
                self.tell(giving.HandlerReturned(key, frozen=how == "frozen"))


class TakingProcess(Process):
    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.taker = Taker()
        self.keys: dict[int, list[int]] = {}
        """Batch -> its connections, as far as they were received."""
        self.judging: set[int] = set()
        self.beginning: set[int] = set()
        self.open: dict[int, Connection] = {}
        self.refused: dict[int, Mapping[int, str]] = {}

    def step(self, key: int) -> Step | None:
        """None: it has never seen it, or holds it no longer."""
        if key in self.open:
            return Step.CLOSED if key in self.world.closed else self.open[key].step
        for batch, keys in self.keys.items():
            if key in keys and (step := self.taker.step(batch, keys.index(key))) is not None:
                return step
        return None

    def left(self, batch: int) -> Mapping[int, str]:
        """Positions of a batch that it leaves to the giver."""
        return self.refused.get(batch, {})

    def tell(self, event: taking.Event) -> None:
        for action in self.taker.handle(event):
            self.live_on()
            self._perform(action)

    def _perform(self, action: taking.Action) -> None:
        match action:
            case taking.Do(batch=batch, at=at, decision=decision):
                self._do(self.keys[batch][at], batch, decision)
            case taking.Judge(batch=batch):
                self.judging.add(batch)
            case taking.SendRefused(batch=batch, which=which):
                if self._send(Refused(batch, which)):
                    self.refused[batch] = which
                    self.tell(taking.RefusalSent(batch))
                else:
                    self.refused[batch] = which
                    self.tell(taking.RefusalFailed(batch, gone=self.world.giver.closed))
            case taking.LeaveBatch(batch=batch, which=which, why=why):
                self.refused[batch] = dict.fromkeys(range(len(self.keys[batch])), "why")
                self._send(Refused(batch, which, why))
            case taking.ReadClaim(batch=batch):
                self.tell(taking.ClaimRead(batch, self.world.read_claim(batch, "taker")))
            case taking.SendTaken(batch=batch):
                self._send(Taken(batch))

    def _do(self, key: int, batch: int, decision: Decision) -> None:
        match decision:
            case Decision.CALL_HANDLER:
                self.world.called[key] += 1
                self.beginning.add(batch)
            case Decision.START_READING:
                self.open[key] = Connection(Step.OPEN)
            case Decision.LET_GO:
                if not self.world.giver.alive and key in self.world.left_behind:
                    self.world.lost.add(key)  # no process holds it
            case _:
                raise AssertionError(decision)

    def _send(self, message: FromTaker) -> bool:
        if self.world.giver.closed or len(self.world.to_giver) >= QUEUE:
            return False
        self.world.to_giver.append(message)
        return True

    def greet(self, room: int) -> None:
        self._send(Hello(Kind.WEBSOCKETS, room))

    def hear(self, problem: str = "") -> None:
        """Receive one message, or the end."""
        if not self.world.to_taker:
            if self.world.giver.closed:
                self.tell(taking.GiverGone())
            return
        match self.world.to_taker.popleft():
            case Done():
                self.tell(taking.GiverGone())
            case Part(message=message, keys=keys):
                self.keys.setdefault(message.id, []).extend(keys)
                event = taking.PartHeard(message.id, message.count, message.more, problem)
                self.tell(event)

    def judge(self, batch: int, refused: Mapping[int, str]) -> None:
        self.judging.remove(batch)
        self.tell(taking.Judged(batch, refused))

    def begin(self, batch: int, failing: Callable[[int], bool]) -> None:
        for at, key in enumerate(self.keys[batch]):
            if self.taker.step(batch, at) is Step.ARRIVING and failing(key):
                self.world.closed.add(key)
                self.tell(taking.HandlerFailed(batch, at))
        self.beginning.discard(batch)
        self.tell(taking.HandlersBegun(batch))

    def take_all(self) -> None:
        while self.world.to_taker:
            self.hear()
        self.hear()
        for batch in sorted(self.judging):
            self.judge(batch, {})
        for batch in sorted(self.beginning):
            self.begin(batch, lambda _: False)
