"""One instance from its start to its end: the order in which everything is set up.

It begins in one of three ways: anew; as another program in the same process, after an upgrade; or
in place of a supervisor that died, whose workers serve on.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from wssupervisor import __version__
from wssupervisor.config.model import Config, Overrides
from wssupervisor.config.schema import load_config, read_config
from wssupervisor.control.server import ControlServer
from wssupervisor.errors import Busy, ConfigInvalid, WssError
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.model import SlotId
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.runtime.api.methods import Requests
from wssupervisor.runtime.background import warn_unpinned
from wssupervisor.runtime.fd_store import CONTROL, FdStore, slots_name, split
from wssupervisor.runtime.handover import attempts, recovery, state_file
from wssupervisor.runtime.handover.attempts import SETTLED_SECONDS, Attempts
from wssupervisor.runtime.handover.document import ControlState, HandoverDocument
from wssupervisor.runtime.handover.predecessor import refuse_living
from wssupervisor.runtime.handover.recovery import Found
from wssupervisor.runtime.handover.state_file import PendingOrders, SavedState, StateFile
from wssupervisor.runtime.handover.upgrade import Upgrade
from wssupervisor.runtime.history.history import History
from wssupervisor.runtime.kernel.control_group import refuse_beyond_reach
from wssupervisor.runtime.kernel.descent import become_subreaper
from wssupervisor.runtime.kernel.descriptors import (
    check_limit,
    keep_descriptors,
    raise_limit,
    report_limit,
)
from wssupervisor.runtime.listeners import acquire
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.listeners.slot_memory import SlotCounts
from wssupervisor.runtime.monitoring.agent_check import Agent
from wssupervisor.runtime.monitoring.pages import Endpoint
from wssupervisor.runtime.monitoring.scrape import Scrape
from wssupervisor.runtime.observe.watch import Watch
from wssupervisor.runtime.releases.release import resolve
from wssupervisor.runtime.releases.unpinned import unpinned
from wssupervisor.runtime.signals import obey_signals
from wssupervisor.runtime.supervisor import Ended, Supervisor
from wssupervisor.runtime.systemd import Passed, ServiceNotifier, passed_sockets, stop_command
from wssupervisor.runtime.upkeep import Upkeep
from wssupervisor.runtime.workers.notify_socket import remove_others
from wssupervisor.runtime.workers.process import supervisor_id

log = structlog.get_logger()

NOTIFY = ".notify"
"""After the control socket's path: where workers find their NOTIFY_SOCKET, one each."""
NOT_TOLD = (
    "in shared mode a worker stops accepting only when it is told, and [drain] signal is none"
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration comes from."""

    path: str | None
    overrides: Overrides

    def load(self, text: str | None) -> Config:
        """From what the file said. Raises ConfigInvalid."""
        return load_config(self.path, self.overrides, text)


@dataclass(frozen=True, slots=True)
class Beginning:
    """`text`: what the configuration file said; `carried`: what was taken over, if anything."""

    config: Config
    text: str | None
    gate: ListenerSet
    fleet: Fleet
    begin: Callable[[Supervisor], None]
    carried: HandoverDocument | None = None
    control: int | None = None
    """The control socket, where it was held while nobody supervised."""


class Instance:
    """Owns the control socket, the state file, and what lies in systemd's store."""

    def __init__(self, name: str, control: str, source: Source) -> None:
        self._name = name
        self._control = os.path.abspath(control)  # noqa: PTH100 - not resolved
        self._source = source
        self._herald = ServiceNotifier()
        self._store = FdStore()
        self._file = StateFile(self._control + state_file.SUFFIX)
        self._file_fails = False
        self._attempts = Attempts(self._control + state_file.SUFFIX + attempts.SUFFIX)
        self._history = History()
        self._server = ControlServer(self._control, _not_yet)
        self._http: Endpoint | None = None
        self._agent: Agent | None = None

    async def run(self, before: HandoverDocument | None) -> Ended:
        """Serve until stopped; `before`: what the program before us left. Raises WssError."""
        try:
            return await self._run(before)
        except Exception as error:
            self._attempts.failed(error)
            raise

    async def _run(self, before: HandoverDocument | None) -> Ended:
        gate: ListenerSet | None = None
        try:
            beginning = self._begin(before)
            gate = beginning.gate
            supervisor, watch, counts = self._set_up(beginning, before)
        except BaseException:
            self._history.close()
            await self._close_servers()
            if gate is not None:
                gate.close()
            raise
        # A supervisor that fails from here on leaves its workers, and all that the next one needs.
        ended = await supervisor.run(partial(self._start, beginning, supervisor), watch.run)
        kill_after = supervisor.fleet.state.policy.kill_after
        await supervisor.crew.strays.end(kill_after, self._herald.progress)
        supervisor.crew.finish()
        if ended.status == 0:
            counts.remember()
        gate.restore()
        self._history.end()
        self._file.remove()
        self._file.remove_aside()
        self._attempts.over()
        await self._close_servers()
        gate.close()
        self._store.drop([CONTROL, *(slots_name(name) for name in gate.pools)])
        return ended

    def _start(self, beginning: Beginning, supervisor: Supervisor) -> None:
        beginning.begin(supervisor)
        self._attempts.began()
        asyncio.get_running_loop().call_later(SETTLED_SECONDS, self._attempts.over)

    async def _close_servers(self) -> None:
        await self._server.close()
        if self._http is not None:
            await self._http.close()
        if self._agent is not None:
            self._agent.close()

    # -- how it begins ------------------------------------------------------------------------

    def _begin(self, before: HandoverDocument | None) -> Beginning:
        raise_limit()
        if before is not None:
            become_subreaper()
            keep_descriptors()
            return self._resumed(before)
        problem: ConfigInvalid | None = None
        try:
            config = self._source.load(text := read_config(self._source.path))
        except ConfigInvalid as error:
            if not self._file.exists():
                raise
            problem = error
        self._server.claim()
        refuse_living(self._file, self._name, self._control, is_service=self._herald.is_service)
        become_subreaper()
        keep_descriptors()
        if self._herald.is_service:
            refuse_beyond_reach(self._name, self._file.user(self._name))
        slots = recovery.slots_before(self._file, self._name)
        self._give_up_what_is_hopeless()
        passed, stored = split(passed_sockets())
        found = recovery.find(
            self._file, self._name, passed, stored, self._control + NOTIFY, self._source.load
        )
        stored.close()
        if found is not None:
            if problem is not None:
                log.warning("a reload would fail: bad configuration", problems=str(problem))
            self._forget(stored.names, found)
            return self._recovered(found)
        self._attempts.over()
        self._forget(stored.names, None)
        self._store.settle()  # what systemd holds of our sockets keeps their addresses taken
        self._file.remove()
        if problem is not None:
            raise problem
        return self._anew(config, text, passed, slots)

    def _give_up_what_is_hopeless(self) -> None:
        """A recovery that fails in the same way each time is not tried for ever."""
        if self._file.exists() and (why := self._attempts.begin()) is not None:
            log.error(
                "the recovery is given up: state of the last supervisor is set aside",
                why=why,
                files=self._file.set_aside(),
            )

    def _anew(
        self,
        config: Config,
        text: str | None,
        passed: Sequence[Passed],
        slots: frozenset[SlotId],
    ) -> Beginning:
        release = resolve(config)
        warn_unpinned(unpinned(release))
        check_limit(config)
        report_limit(config)
        if self._herald.is_service:
            acquire.end_left_overs(config)
        gate = acquire.gate(config, passed, slots)
        fleet = Fleet(gate.open(), time.monotonic())
        return Beginning(config, text, gate, fleet, lambda supervisor: supervisor.start(release))

    def _resumed(self, before: HandoverDocument) -> Beginning:
        config = self._source.load(before.config_text)
        return Beginning(
            config,
            before.config_text,
            acquire.taken_over(config, before.listeners, before.slots_before, attach=True),
            before.load_fleet(),
            lambda supervisor: supervisor.resume(before.program),
            before,
        )

    def _recovered(self, found: Found) -> Beginning:
        carried = found.carried
        report_limit(found.config)
        return Beginning(
            found.config,
            carried.config_text,
            acquire.taken_over(found.config, carried.listeners, carried.slots_before, attach=False),
            carried.load_fleet(),
            lambda supervisor: supervisor.recover(found),
            carried,
            found.control,
        )

    def _forget(self, names: frozenset[str], found: Found | None) -> None:
        """Give back what nobody will need again, or it piles up."""
        needed = set() if found is None else recovery.names_needed(found)
        self._store.drop(names - needed)
        workers = () if found is None else found.carried.workers
        remove_others(self._control + NOTIFY, {one.notify.address for one in workers})

    # -- setting up ---------------------------------------------------------------------------

    def _set_up(
        self, beginning: Beginning, before: HandoverDocument | None
    ) -> tuple[Supervisor, Watch, SlotCounts]:
        config, gate, carried = beginning.config, beginning.gate, beginning.carried
        counts = SlotCounts(gate.pools.values())
        if carried is None:
            gate.slots_before = _missing_slots(counts, gate)
        self._history.keep_in(self._control)
        supervisor = Supervisor(
            config,
            lambda: self._source.load(read_config(self._source.path)),
            gate,
            beginning.fleet,
            self._control + NOTIFY,
            self._store,
            self._history,
        )
        watch = Watch(supervisor, self._herald)
        scrape = Scrape(supervisor, watch)
        self._http = Endpoint(config.http, supervisor, scrape)
        self._agent = Agent(config.http.agent, lambda: supervisor.fleet.state)
        upgrade = Upgrade(
            lambda: supervisor.fleet.state,
            lambda: self._carry(supervisor, watch, beginning.text),
            self._http.quiet,
        )
        self._server.group_may_operate = config.control.group_may_operate
        if (command := stop_command(config.name)) is not None:
            self._server.instead = {"stop": command}
        self._server.handler = Requests(supervisor, watch, upgrade, scrape).handle
        self._listen_for_clients(beginning, before)
        self._http.begin(None if before is None else before.http, anew=carried is None)
        self._agent.begin(anew=carried is None)
        gate.stored = self._store_sockets(gate)
        if carried is None:
            _greet(config, gate, self._control)
        else:
            supervisor.take_over(carried)
            watch.take_over(carried)
        supervisor.keep = partial(self._keep, supervisor, watch, beginning.text)
        watch.mend = self._upkeep(supervisor).look
        obey_signals(supervisor, upgrade)
        supervisor.history.follow(lambda note: _tell_systemd(self._herald, str(note["kind"])))
        if not gate.slots_before:
            counts.remember()
        return supervisor, watch, counts

    def _upkeep(self, supervisor: Supervisor) -> Upkeep:
        """The directory and its lock first: the others lie in it."""
        assert self._http is not None

        def control() -> bool:
            made = self._server.mend()
            if made:
                self._store.drop([CONTROL])
                self._store.put(CONTROL, [self._server.listening])
            return made

        def state() -> bool:
            if self._file.is_there():
                return False
            supervisor.keep(supervisor.deeds.undone)
            return self._file.is_there()

        parts = {
            f"control socket {self._control}": control,
            "state": state,
            "history": self._history.mend,
            "notify sockets of workers": supervisor.crew.mend,
            "[http] address": self._http.mend,
        }
        return Upkeep(parts, supervisor.gate.pools.values())

    def _listen_for_clients(self, beginning: Beginning, before: HandoverDocument | None) -> None:
        if before is not None and before.control is not None:
            own = before.control
            self._server.take_over(own.listening, own.lock, made_directory=own.made_directory)
        elif beginning.control is not None:
            self._server.adopt(beginning.control)
        else:
            self._server.start()
        carried = beginning.carried
        if carried is not None and carried.control is not None:
            self._server.made_directory = carried.control.made_directory

    def _store_sockets(self, gate: ListenerSet) -> bool:
        """Let systemd hold what would be lost with us, before a worker relies on it."""
        self._store.put(CONTROL, [self._server.listening])
        for name, pool in gate.pools.items():
            if pool.source == "self":
                self._store.put(slots_name(name), [slot.socket.fileno() for slot in pool.slots])
        return self._store.settle()

    def _carry(self, supervisor: Supervisor, watch: Watch, text: str | None) -> HandoverDocument:
        if not supervisor.retry():
            raise Busy("what was decided for a worker cannot be done yet (see the log); try again")
        return replace(
            supervisor.carry(),
            config_text=text,
            control=ControlState(*self._server.descriptors()),
            first_seen=dict(watch.first_seen),
            http=None if self._http is None else self._http.carry(),
            lag=watch.lag,
        )

    def _keep(
        self, supervisor: Supervisor, watch: Watch, text: str | None, actions: Sequence[Action]
    ) -> None:
        """Never raises: where it fails, neither file says anything any more, as it would be old."""
        try:
            self._write_down(supervisor, watch, text, actions)
        except Exception as error:  # noqa: BLE001 - what was decided is to be done all the same
            self._file.remove()
            if not self._file_fails:
                log.error(  # noqa: TRY400 - what to do about it is not in the traceback
                    "state cannot be written down: should the supervisor die now, its workers"
                    " would be ended by the next one",
                    why=str(error),
                    path=self._control + state_file.SUFFIX,
                )
            self._file_fails = True
        else:
            self._file_fails = False

    def _write_down(
        self, supervisor: Supervisor, watch: Watch, text: str | None, actions: Sequence[Action]
    ) -> None:
        """Raises OSError, and whatever goes wrong with what is written down."""
        carried = replace(
            supervisor.carry(lean=True),
            config_text=text,
            control=ControlState(*self._server.descriptors()),
            lag=watch.lag,
        )
        undone = PendingOrders.of(actions)
        now, own = time.monotonic(), supervisor_id()
        boot, user = state_file.boot_id(), os.geteuid()
        self._file.write(
            SavedState(state_file.VERSION, self._name, boot, own, now, undone, carried, user)
        )


def _greet(config: Config, gate: ListenerSet, control: str) -> None:
    log.info("starting", version=__version__, control=control, workers=config.app.workers)
    for pool in gate.pools.values():
        log.info(
            "listening",
            listener=pool.name,
            address=pool.address,
            slots=len(pool.slots),
            source=pool.source,
            **({} if pool.why_shared is None else {"shared": pool.why_shared}),
        )
        if pool.why_shared is not None and config.drain.signal is None:
            log.warning("old workers will go on accepting", listener=pool.name, why=NOT_TOLD)


def _missing_slots(counts: SlotCounts, gate: ListenerSet) -> dict[str, int]:
    """How many there were in the last run. One that ended well with fewer sets the new measure."""
    missing = counts.missing()
    for name, before in missing.items():
        log.warning(
            "fewer slots than before",
            listener=name,
            slots=len(gate.pools[name].slots),
            before=before,
            advice="if that is not meant, stop the service and the socket unit, and start both",
        )
    return missing


def _tell_systemd(herald: ServiceNotifier, kind: str) -> None:
    if kind in (NoteKind.STARTED.value, NoteKind.RECOVERED.value):
        herald.ready()
    elif kind == NoteKind.STOP_BEGUN.value:
        herald.stopping()


async def _not_yet(*_: object) -> dict[str, object]:
    raise WssError("the daemon is still starting")
