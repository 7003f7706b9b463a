"""The loop: events in, the fleet decides, actions out. Everything else hangs off it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import structlog

from wssupervisor import __version__
from wssupervisor.config import Config, restart_needed
from wssupervisor.errors import ConfigInvalid, ReleaseInvalid, SteeringRefused, WssError
from wssupervisor.fleet.actions import (
    Action,
    Answer,
    AskToClose,
    Kill,
    Note,
    NoteKind,
    Outcome,
    Probe,
    Quit,
    Resolve,
    Signal,
    Spawn,
    Steer,
    TellDrain,
    TellResume,
)
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    CensusTaken,
    ConnectionsEstimated,
    Event,
    Observed,
    ProbeFailed,
    ProbePassed,
    ProbeTried,
    Recovered,
    Reexecuted,
    ReleaseRefused,
    ReleaseResolved,
    RequesterLeft,
    SlotsReordered,
    Spawned,
    SpawnFailed,
    StartRequested,
    Steered,
    SteerFailed,
    TimePassed,
    WorkerAlive,
    WorkerCounted,
    WorkerExited,
    WorkerParted,
)
from wssupervisor.fleet.model import Policy, Release, RequestId, WorkerId
from wssupervisor.fleet.reloading import name as reload_name
from wssupervisor.fleet.snapshot import dump
from wssupervisor.fleet.state import ReloadPhase, Verdict
from wssupervisor.fleet.view import FleetView, view
from wssupervisor.fleet.worker import GOING_AWAY, SERVICE_RESTART
from wssupervisor.runtime import carried, readiness
from wssupervisor.runtime.carried import Carried
from wssupervisor.runtime.census import Handshakes
from wssupervisor.runtime.crew import Crew
from wssupervisor.runtime.gate import Gate, Moment
from wssupervisor.runtime.history import History
from wssupervisor.runtime.recovery import Found
from wssupervisor.runtime.release import resolve
from wssupervisor.runtime.self_bound import same_address
from wssupervisor.runtime.systemd import Store
from wssupervisor.worker import protocol

log = structlog.get_logger()

STALL_SECONDS = 1.0
"""So long without an event (the watch makes five a second) means that we slept, not the others."""
CATCH_UP_SECONDS = 0.3
"""After a stall the fleet's clock stands still for so long: all is read before any is judged."""
VERDICTS_KEPT = 16
PASSING = (Observed, CensusTaken, ConnectionsEstimated, TimePassed, WorkerAlive, WorkerCounted)
"""Events that will come again: without consequences they are not worth to be written down."""
CLOSE_REASONS = {GOING_AWAY: "the service ends", SERVICE_RESTART: "a new version is running"}
WARNINGS = frozenset(
    {
        NoteKind.RELOAD_FAILED,
        NoteKind.RELOAD_REFUSED,
        NoteKind.RECOVERED,
        NoteKind.WORKER_SILENT,
        NoteKind.WORKER_KILLED,
        NoteKind.WORKER_MUTE,
        NoteKind.DRAIN_LIMIT,
        NoteKind.DRAIN_HURRIED,
        NoteKind.STILL_LISTENS,
        NoteKind.STEERING_FAILED,
    }
)

Reread = Callable[[], Config]
"""Read the configuration again; raises ConfigInvalid."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the instance ended; `lines`: the last that the worker in question wrote."""

    status: int
    reason: str | None = None
    lines: tuple[str, ...] = ()


class Supervisor:
    """One instance. `post` is the only way in, `perform` the only way out."""

    def __init__(
        self,
        config: Config,
        reread: Reread,
        gate: Gate,
        fleet: Fleet,
        notify_at: str,
        store: Store,
        history: History,
    ) -> None:
        """`notify_at`: how the paths of the workers' notify sockets begin."""
        self.config = config
        self.gate = gate
        self.fleet = fleet
        self.executions = 1
        """Programs that this process has been, counting upgrades."""
        self.history = history
        self.handshakes = Handshakes([steering.pool for steering in gate.steerings.values()])
        self.crew = Crew(
            config.name, notify_at, gate, self.post, _tell_output, _warn_of_message, store
        )
        self.cut_over_at: dict[str, Moment] = {}
        """When the table of each of the last cutovers took force, by reload."""
        self.look: Callable[[], object] = lambda: None
        """Read the sockets now; set by the watch; raises nothing."""
        self.keep: Callable[[Sequence[Action]], object] = lambda _: None
        """Write down what is decided, and what is about to be done; set by the instance."""
        self._steered_at = Moment(0.0, 0.0)
        self._unsure_since: float | None = None
        """After a death: since when a table may have been in force that we are about to attach."""
        self._reread = reread
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._events: deque[Event] = deque()
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._seen_at = self._fleet_now = time.monotonic()
        self._stands_until = 0.0
        self._tasks: asyncio.TaskGroup | None = None
        self._probes: dict[WorkerId, asyncio.Task[None]] = {}
        self._answers: dict[RequestId, asyncio.Future[Outcome]] = {}
        self._last_request = 0
        self._verdicts: dict[int, asyncio.Future[Verdict]] = {}

    async def run(
        self, begin: Callable[[], None], watch: Callable[[], Coroutine[Any, Any, None]]
    ) -> Ended:
        """Serve until told to stop, or until the start has failed."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            watching = tasks.create_task(watch())
            begin()
            ended = await self._ended
            watching.cancel()
            for probe in self._probes.values():
                probe.cancel()
        if self._timer is not None:
            self._timer.cancel()
        return ended

    def start(self, release: Release) -> None:
        """Begin with the first generation."""
        self.look()
        self.post(StartRequested(release, self.config.policy()))

    def resume(self, before: str) -> None:
        """Go on with what was under way in the program before us, of that version."""
        self._stands_until = time.monotonic() + CATCH_UP_SECONDS
        self.look()
        self.post(Reexecuted(__version__, before))

    def recover(self, found: Found) -> None:
        """Go on in place of a supervisor that died."""
        moved = [] if found.steered else self.gate.measure()
        self._unsure_since = found.at
        self._stands_until = time.monotonic() + CATCH_UP_SECONDS
        self.post(
            Recovered(
                __version__,
                found.carried.program,
                found.running,
                found.gone,
                found.undone,
                found.exchanged,
            )
        )
        for worker in self.crew.parted():
            self.post(WorkerParted(worker))
        for listener in moved:
            self.post(SlotsReordered(listener.name, listener.slots))
        self.look()

    def carry(self, *, lean: bool = False) -> Carried:
        """What is here, for the program after us; the instance adds the rest.

        `lean`: only what decisions hang on, as it is written down at each step.
        """
        verdicts = (one.result() for one in self._verdicts.values() if one.done())
        return Carried(
            version=carried.VERSION,
            program=__version__,
            executions=self.executions,
            config_text=None,
            fleet=dump(self.fleet),
            listeners=self.gate.carry(),
            slots_before=dict(self.gate.slots_before),
            handshakes=self.handshakes.carry(),
            workers=self.crew.carry(),
            last_words={} if lean else self.crew.carry_last_words(),
            control=None,
            last_request=self._last_request,
            cut_over_at={reload: (at.begun, at.done) for reload, at in self.cut_over_at.items()},
            verdicts=tuple(verdicts),
            history=() if lean else tuple(self.history.carry()),
            first_seen={},
        )

    def take_over(self, found: Carried) -> None:
        """Go on with what the program before us carried, but for the fleet and the gate."""
        self.executions = found.executions + 1
        self.handshakes.take_over(found.handshakes)
        self.crew.take_over(found.workers, found.last_words)
        self.history.take_over(found.history)
        self._last_request = found.last_request
        self.cut_over_at = {reload: Moment(*at) for reload, at in found.cut_over_at.items()}
        for verdict in found.verdicts:
            self.verdict_of(verdict.reload).set_result(verdict)

    # -- events -------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Tell the fleet; what it wants is done before this returns (unless called from within)."""
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
            self._end_probe(event.worker)
            self._mend_slots()
        actions = self.fleet.handle(event, self._now())
        if not isinstance(event, TimePassed) and actions:
            log.debug("event", what=repr(event))
        self._settle_verdict()
        if actions or not isinstance(event, PASSING):
            self.keep(actions)
        for action in actions:
            log.debug("action", what=repr(action))
            self.perform(action)

    def _now(self) -> float:
        """The fleet's time: CLOCK_MONOTONIC, but for a moment after we were stopped or suspended.

        What happened meanwhile lies in sockets and is read then; a limit that passed meanwhile
        would be judged without it.
        """
        now = time.monotonic()
        if now - self._seen_at > STALL_SECONDS:
            self._stands_until = now + CATCH_UP_SECONDS
            log.warning("was not running", seconds=round(now - self._seen_at, 1))
        self._seen_at = now
        if now >= self._stands_until:
            self._fleet_now = now
        return self._fleet_now

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.fleet.next_deadline()
        if deadline is not None:
            at = max(deadline, self._stands_until)
            self._timer = asyncio.get_running_loop().call_at(at, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self.post(TimePassed())

    # -- actions ------------------------------------------------------------------------------

    def perform(self, action: Action) -> None:
        """Do it now, or start what will post its result; never waits."""
        match action:
            case Spawn(worker=worker):
                try:
                    self.post(Spawned(worker, self.crew.spawn(action)))
                except OSError as error:
                    self.post(SpawnFailed(worker, error.strerror or str(error)))
            case Steer():
                self._steer(action)
            case Signal(worker=worker, name=name):
                self._end_probe(worker)
                self.crew.signal(worker, name)
            case Kill(worker=worker):
                self.crew.kill(worker)
            case TellDrain(worker=worker, stop_accepting=stop):
                let_go = self.crew.shared_listeners() if stop else ()
                self.crew.say(worker, protocol.Drain(let_go))
            case TellResume(worker=worker):
                self.crew.say(worker, protocol.Resume())
            case AskToClose(worker=worker, code=code, over=over, by=by):
                self.crew.say(worker, protocol.Close(code, CLOSE_REASONS[code], over, by))
            case Probe():
                self._begin(self._probe(action), action.worker)
            case Resolve(reload=reload):
                self._begin(self._resolve(reload), None)
            case Answer(request=request, outcome=outcome):
                waiting = self._answers.pop(request, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(outcome)
            case Note():
                self._note(action)
            case Quit(status=status, reason=reason, of=of):
                lines = () if of is None else self.crew.last_lines(of)
                self._ended.set_result(Ended(status, reason, lines))
            case _:
                assert_never(action)

    def _begin(self, work: Coroutine[Any, Any, None], probe_of: WorkerId | None) -> None:
        assert self._tasks is not None
        task = self._tasks.create_task(work)
        if probe_of is not None:
            self._probes[probe_of] = task
            task.add_done_callback(lambda _: self._probes.pop(probe_of, None))

    def forward(self, name: str) -> None:
        """Pass a signal on to the workers of the active generation."""
        active = self.fleet.state.active
        workers = [] if active is None else list(active.workers)
        log.info("signal passed on", signal=name, workers=len(workers))
        for worker in workers:
            self.crew.signal(worker, name)

    def recover_slots(self) -> None:
        """Let slots listen that a worker shut down: indexes may have moved."""
        for listener in self.gate.recover():
            log.error("slot was shut down by a worker", listener=listener.name)
            self.post(SlotsReordered(listener.name, listener.slots))

    def _mend_slots(self) -> None:
        """Before a replacement starts and calls listen() itself, which would hide that it moved."""
        try:
            self.recover_slots()
        except (WssError, OSError):
            log.exception("slots could not be mended")

    def _end_probe(self, worker: WorkerId) -> None:
        """Nobody needs to know any more whether it accepts."""
        if probe := self._probes.pop(worker, None):
            probe.cancel()

    def _steer(self, action: Steer) -> None:
        self.recover_slots()
        try:
            self._check_candidate()
            moment = self.gate.steer(action.table)
        except (SteeringRefused, OSError) as error:
            self.post(SteerFailed(action.epoch, str(error)))
            return
        since, self._unsure_since = self._unsure_since, None
        self._steered_at = moment if since is None else Moment(since, moment.done)
        reload = self.fleet.state.reload
        if reload is not None and reload.phase is ReloadPhase.CUTTING:
            # Known before the verdict is: with it the state is written down.
            self.cut_over_at[reload_name(reload.id)] = self._steered_at
            while len(self.cut_over_at) > VERDICTS_KEPT:
                del self.cut_over_at[next(iter(self.cut_over_at))]
        self.handshakes.record(action.epoch)
        self.post(Steered(action.epoch))

    def _check_candidate(self) -> None:
        """One that says it is ready may have bound the address itself. Raises SteeringRefused."""
        reload, candidate = self.fleet.state.reload, self.fleet.state.candidate
        if reload is None or candidate is None or reload.phase is not ReloadPhase.CUTTING:
            return
        for worker, one in candidate.workers.items():
            process = self.crew.process(worker)
            wrong = process and same_address(self.gate, process, one.slots.values())
            if wrong:
                raise SteeringRefused(f"worker {worker.index} {wrong}")

    async def _probe(self, action: Probe) -> None:
        process = self.crew.process(action.worker)
        if process is None:
            return
        try:
            await readiness.ready(
                self.gate,
                process,
                action,
                lambda reason: self.post(ProbeTried(action.worker, reason)),
            )
        except readiness.NeverReady as error:
            self.post(ProbeFailed(action.worker, str(error)))
        except Exception as error:  # at the loop's edge: one worker's probe must not end the rest
            if not isinstance(error, WssError | OSError):
                log.exception("probe stumbled")
            self.post(ProbeFailed(action.worker, f"could not be probed: {error}"))
        else:
            self.post(ProbePassed(action.worker))

    async def _resolve(self, reload: int) -> None:
        try:
            release, policy = await asyncio.to_thread(self._read_release)
        except (ConfigInvalid, ReleaseInvalid) as error:
            reason = str(error).replace("\n", "; ")
            self.post(ReleaseRefused(reload, f"{_REFUSED[type(error)]}: {reason}"))
            return
        except Exception as error:  # whatever it is, it must not end what serves
            log.exception("reload stumbled")
            self.post(ReleaseRefused(reload, f"the release could not be read: {error!r}"))
            return
        self.look()  # a slot that was freed a moment ago counts
        self.post(ReleaseResolved(reload, release, policy))

    def _read_release(self) -> tuple[Release, Policy]:
        config = self._reread()
        changed = restart_needed(self.config, config)
        if changed:
            keys = ", ".join(changed)
            text = f"{keys} changed, which needs a restart; restart the instance, or put it back"
            raise ConfigInvalid([text])
        return resolve(config), config.policy()

    def _note(self, note: Note) -> None:
        extra: dict[str, Any] = {}
        if note.kind is NoteKind.CUTOVER:
            extra["monotonic_begun"], extra["monotonic"] = self._steered_at
        warn = note.kind in WARNINGS or note.fields.get("expected") is False
        fields = {name: value for name, value in note.fields.items() if value is not None}
        say = log.warning if warn else log.info
        say(note.kind.value.replace("-", " "), kind=note.kind.value, **fields)
        self.history.add(note, extra)

    # -- requests -----------------------------------------------------------------------------

    def next_request(self) -> RequestId:
        """A number that no other request has."""
        self._last_request += 1
        return self._last_request

    def request(self, request: RequestId, event: Event) -> asyncio.Future[Outcome]:
        """Post a request; its one answer is the future's. Who stops waiting must `leave`."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._answers[request] = answer
        self.post(event)
        return answer

    def leave(self, request: RequestId) -> None:
        """Nobody waits for the answer any more; harmless once it has been given."""
        if self._answers.pop(request, None) is not None:
            self.post(RequesterLeft(request))

    async def ask(self, request: RequestId, event: Event) -> Outcome:
        """Post a request and wait for its one answer. Cancelled: the requester has left."""
        try:
            return await self.request(request, event)
        finally:
            self.leave(request)

    def wait_instead(self, reload: int) -> RequestId | None:
        """Stand in for the requester of a reload, whom an upgrade has cut off; then `leave`."""
        own = self.fleet.state.reload
        if own is None or own.id != reload or own.request is None or own.request in self._answers:
            return None
        self._answers[own.request] = asyncio.get_running_loop().create_future()
        return own.request

    def _settle_verdict(self) -> None:
        verdict = self.fleet.state.verdict
        if verdict is not None:
            known = self.verdict_of(verdict.reload)
            if not known.done():
                known.set_result(verdict)
                for old in [id_ for id_ in self._verdicts if id_ <= verdict.reload - VERDICTS_KEPT]:
                    del self._verdicts[old]

    def verdict_of(self, reload: int) -> asyncio.Future[Verdict]:
        """Done once that reload has ended."""
        if reload not in self._verdicts:
            self._verdicts[reload] = asyncio.get_running_loop().create_future()
        return self._verdicts[reload]

    def view(self) -> FleetView:
        return view(self.fleet.state, time.monotonic())


_REFUSED: dict[type[Exception], str] = {
    ConfigInvalid: "the configuration cannot be used",
    ReleaseInvalid: "the release cannot be used",
}


def _tell_output(worker: WorkerId, pid: int, lines: list[str]) -> None:
    for line in lines:
        log.info(line, kind="output", generation=worker.generation, worker=str(worker), pid=pid)


def _warn_of_message(worker: WorkerId, reason: str) -> None:
    log.warning("bad message", worker=str(worker), reason=reason)
