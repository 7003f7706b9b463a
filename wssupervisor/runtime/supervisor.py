"""The core of an instance: passes events to the fleet, and performs the actions it decides on."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import structlog

from wssupervisor import __version__, logging
from wssupervisor.bounded import bounded_fields
from wssupervisor.config.model import Config
from wssupervisor.errors import SteeringRefused
from wssupervisor.fleet.actions import (
    Action,
    Answer,
    Begun,
    JudgeLeftover,
    PendingCutover,
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
    LibraryDisconnected,
    Observed,
    Recovered,
    Reexecuted,
    SlotsReordered,
    Spawned,
    StartRequested,
    Steered,
    TimePassed,
    WorkerAlive,
    WorkerCounted,
    WorkerExited,
)
from wssupervisor.fleet.model import Release, WorkerId
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import (
    Order,
    Signal,
)
from wssupervisor.fleet.reloading import name as reload_name
from wssupervisor.fleet.view import FleetView
from wssupervisor.runtime.background import BackgroundTasks, Reread
from wssupervisor.runtime.clock import Clock
from wssupervisor.runtime.effects import Effects, never_raises
from wssupervisor.runtime.fd_store import FdStore
from wssupervisor.runtime.history.history import History
from wssupervisor.runtime.listeners.handshakes import Handshakes, HandshakesState
from wssupervisor.runtime.listeners.listener_set import ListenerSet, Moment
from wssupervisor.runtime.pending import VERDICTS_KEPT, PendingRequests, PendingRequestsState
from wssupervisor.runtime.workers.bound_itself import same_address
from wssupervisor.runtime.workers.carry_out import carry_out
from wssupervisor.runtime.workers.crew import Crew, CrewState
from wssupervisor.runtime.workers.output import OutputLines

log = structlog.get_logger()

PASSING = (Observed, CensusTaken, TimePassed, WorkerAlive, WorkerCounted)
"""Recurring events: without actions they do not cause a save of the state."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the instance ended. `lines`: the last output of the worker that caused the end."""

    status: int
    reason: str | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SupervisorState:
    """`executions`: programs that this process has run. `cut_over_at`: see Supervisor."""

    executions: int
    handshakes: HandshakesState
    crew: CrewState
    requests: PendingRequestsState
    cut_over_at: dict[str, tuple[float, float]]


class Supervisor:
    """One instance. Every event enters by `post`, and every action leaves by `perform`."""

    def __init__(
        self,
        config: Config,
        reread: Reread,
        listeners: ListenerSet,
        fleet: Fleet,
        notify_at: str,
        store: FdStore,
        history: History,
        *,
        look: Callable[[], object],
        keep: Callable[[Sequence[Action]], object],
        saved: SupervisorState | None = None,
    ) -> None:
        """`notify_at`: prefix of the paths of the workers' notify sockets.

        `look`: read the sockets now. `keep`: save the state, and the actions that are about to be
        done. Neither raises. `saved`: the previous program's state.
        """
        self.config = config
        self.listeners = listeners
        self.fleet = fleet
        self.store = store
        self.executions = 1 if saved is None else saved.executions + 1
        """Number of programs that this process has run: 1, plus 1 for each upgrade."""
        self.history = history
        self._events: deque[Event] = deque()
        self._handling = True
        """Whether a step is under way. True until `run`: events are only queued."""
        self._actions: Sequence[Action] = ()
        """Of the step under way, done or not."""
        self._has_saved = False
        """Until the first step is saved, the saved state is a predecessor's, with its orders."""
        steered = [steering.pool for steering in listeners.steerings.values()]
        self.handshakes = (
            Handshakes(steered) if saved is None else Handshakes.restore(steered, saved.handshakes)
        )
        self.crew = Crew(
            config.name,
            notify_at,
            listeners,
            self.post,
            _log_output,
            logging.takes_output,
            _warn_of_message,
            store,
            lambda: fleet.policy.kill_after,
            self._keep_now,
            None if saved is None else saved.crew,
        )
        self.answers = PendingRequests(self.post, None if saved is None else saved.requests)
        self.effects = Effects(self.perform, self.post)
        self._tasks = asyncio.TaskGroup()
        self._background = BackgroundTasks(
            config, reread, listeners, self.crew, self.post, look, self._tasks
        )
        before = {} if saved is None else saved.cut_over_at
        self.cut_over_at = {reload: Moment(*at) for reload, at in before.items()}
        """When the table of each of the last cutovers took effect, by reload."""
        self._look = look
        self._keep = keep
        self._steered_at = Moment(0.0, 0.0)
        self._unsure_since: float | None = None
        """After a death: since when the table of the next `_steer` may already be in force."""
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._clock = Clock()

    def save(self, *, lean: bool) -> SupervisorState:
        """`lean`: only what decisions depend on, which is saved at each step."""
        return SupervisorState(
            self.executions,
            self.handshakes.save(),
            self.crew.save(lean=lean),
            self.answers.save(),
            {reload: (at.begun, at.done) for reload, at in self.cut_over_at.items()},
        )

    async def run(
        self, begin: Callable[[], None], watch: Callable[[], Coroutine[Any, Any, None]]
    ) -> Ended:
        """Serve until a stop, or until the start has failed."""
        self._handling = False
        async with self._tasks as tasks:
            watching = tasks.create_task(watch())
            begin()
            self.listeners.keep_own(self._keep_now)
            ended = await self._ended
            watching.cancel()
            self._background.end()
        if self._timer is not None:
            self._timer.cancel()
        return ended

    def start(self, release: Release) -> None:
        """Start the first generation."""
        self._look()
        self.post(StartRequested(release, self.config.policy()))

    def resume(self, before: str) -> None:
        """Continue the work of the previous program, of version `before`."""
        self._clock.stand_still()
        self._look()
        self.post(Reexecuted(__version__, before))
        self.crew.relay.take_over()

    def recover(self, event: Recovered, at: float, *, steered: bool) -> None:
        """Continue the work of a supervisor that died, and that saved its state at this instant.

        `steered`: the steering was in force all the time; otherwise indexes have moved.
        """
        moved = [] if steered else self.listeners.measure()
        self._unsure_since = at
        self._clock.stand_still()
        self.post(event)
        self.crew.relay.take_over()
        for worker in self.crew.without_channel():
            self.post(LibraryDisconnected(worker))
        for listener in moved:
            self.post(SlotsReordered(listener.name, listener.slots))
        self._look()

    # -- events -------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Pass an event to the fleet, and perform its actions before returning.

        Within a step the event is only queued.
        """
        self._events.append(event)
        if self._handling:
            return
        self._handling = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        finally:
            self._handling = False
        self._set_timer()

    def _handle(self, event: Event) -> None:
        if isinstance(event, WorkerExited):
            self._background.end_probe(event.worker)
            self._mend_slots()
        actions = self.fleet.handle(event, self._clock.now())
        if not isinstance(event, TimePassed) and actions:
            log.debug("event", what=repr(event))
        # From here to the last action nothing raises and nothing blocks: see effects.py.
        if (verdict := self.fleet.verdict) is not None:
            self.answers.settle(verdict)
        if actions or not isinstance(event, PASSING):
            never_raises("state", lambda: self._keep([*self.effects.pending, *actions]))
            self._has_saved = True
        self._actions = actions
        self.effects.perform(actions)
        self._actions = ()

    def _keep_now(self) -> None:
        """Save what no decision has changed; within a step, with the actions of that step."""
        if self._has_saved:
            self._keep([*self.effects.pending, *self._actions])

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.fleet.next_deadline()
        if deadline is not None:
            at = self._clock.reaches(deadline)
            self._timer = asyncio.get_running_loop().call_at(at, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self.post(TimePassed())

    # -- actions ------------------------------------------------------------------------------

    def retry(self) -> bool:
        """Try failed actions again; True if none is left."""
        self.effects.retry(self.crew.processes())
        return not self.effects.pending

    def perform(self, action: Action) -> None:
        """Do an action now, or start a task that posts its result; never waits. May raise."""
        if isinstance(action, Order):
            if isinstance(action, Signal):
                self._background.end_probe(action.worker)
            carry_out(self.crew, action)
            return
        match action:
            case Spawn(worker=worker):
                self.post(Spawned(worker, self.crew.spawn(action)))
            case Steer():
                self._steer(action)
            case JudgeLeftover():
                self._background.judge(action)
            case Probe():
                self._background.probe(action)
            case Resolve(reload=reload):
                self._background.resolve(reload)
            case Begun(request=request, reload=reload):
                self.answers.begun(request, reload)
            case Answer(request=request, outcome=outcome):
                self.answers.give(request, outcome)
            case Note():
                self._note(action)
            case Quit(status=status, reason=reason, of=of):
                lines = () if of is None else self.crew.outputs.last_lines(of)
                if not self._ended.done():
                    self._ended.set_result(Ended(status, reason, lines))
            case _:
                assert_never(action)

    def forward(self, name: str) -> None:
        """Pass a signal on to the workers of the active generation, if its release asks for it."""
        seen = self.view()
        active = seen.active()
        if active is None or name not in seen.policy.forward_signals:
            if name != "SIGWINCH":  # any terminal sends SIGWINCH
                log.info("signal ignored", signal=name, why="[app] forward_signals lacks it")
            return
        workers = [worker.id for worker in active.workers if worker.pid is not None]
        log.info("signal passed on", signal=name, workers=len(workers))
        for worker in workers:
            self.crew.signal(worker, name)

    def recover_slots(self) -> None:
        """Listen again on slots that a worker shut down; their indexes may have changed."""
        for listener in self.listeners.recover():
            log.error("slot was shut down by a worker", listener=listener.name)
            self.post(SlotsReordered(listener.name, listener.slots))

    def _mend_slots(self) -> None:
        """Recover slots before a replacement calls listen(), which would hide changed indexes."""
        never_raises("slots", self.recover_slots)

    def _steer(self, action: Steer) -> None:
        """Put a table into force. If it raises WssError or OSError, the old one stays in force."""
        self.recover_slots()
        if action.cutover is not None:
            self._check(action.cutover)
        moment = self.listeners.steer(action.table)
        # The table is in force: nothing that follows may report a failure.
        since, self._unsure_since = self._unsure_since, None
        self._steered_at = moment if since is None else Moment(since, moment.done)
        if action.cutover is not None:
            # Set before the verdict, because the verdict's step saves the state.
            self.cut_over_at[reload_name(action.cutover.reload)] = self._steered_at
            while len(self.cut_over_at) > VERDICTS_KEPT:
                del self.cut_over_at[next(iter(self.cut_over_at))]
        self.handshakes.record(action.epoch)
        self.post(Steered(action.epoch))

    def _check(self, cutover: PendingCutover) -> None:
        """Raise SteeringRefused if a ready worker has bound the address itself."""
        for worker, slots in cutover.workers.items():
            process = self.crew.process(worker)
            wrong = process and same_address(self.listeners, process, slots.values())
            if wrong:
                raise SteeringRefused(f"worker {worker.index} {wrong}")

    def warnings_of(self, reload: int) -> list[str]:
        """Unpinned parts of the release of this reload, if it is the last one; otherwise none."""
        return self._background.warnings.get(reload, [])

    def _note(self, note: Note) -> None:
        extra: dict[str, float] = {}
        if note.kind is NoteKind.CUTOVER:
            extra["monotonic_begun"], extra["monotonic"] = self._steered_at
        shown = bounded_fields(note.fields)
        fields = {name: value for name, value in shown.items() if value is not None}
        say = log.warning if note.is_warning else log.info
        say(note.kind.value.replace("-", " "), kind=note.kind.value, **fields)
        self.history.add(note, extra)

    def view(self) -> FleetView:
        """A view of the fleet now."""
        return self.fleet.view(time.monotonic())


def _log_output(worker: WorkerId, pid: int, output: OutputLines) -> None:
    name, generation = str(worker), worker.generation
    if output.skipped:
        logging.log_skipped(output.skipped, worker=name, generation=generation)
    if output.pieces:
        logging.pass_on(output.pieces, worker=name, generation=generation, pid=pid)


def _warn_of_message(worker: WorkerId, reason: str) -> None:
    logging.limited("warning", "bad message", {"worker": str(worker)}, reason=reason)
