"""One instance from its start to its end: sets everything up, in order, and takes it down.

An instance begins in one of three ways: with nothing to restore; after an upgrade, as another
program in the same process; or in place of a supervisor that died, whose workers still serve.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog

from wssupervisor import __version__
from wssupervisor.config.model import Config, Overrides
from wssupervisor.config.schema import load_config, read_config
from wssupervisor.control.control_socket import ControlSocket
from wssupervisor.control.server import ControlServer
from wssupervisor.errors import Busy, ConfigInvalid
from wssupervisor.fleet.actions import Action
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.model import SlotId
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.runtime.api.call import Services
from wssupervisor.runtime.api.dispatch import Requests
from wssupervisor.runtime.background import warn_unpinned
from wssupervisor.runtime.fd_store import CONTROL, FdStore, slots_name, split
from wssupervisor.runtime.handover import attempts, document, recovery, state_file
from wssupervisor.runtime.handover.attempts import SETTLED_SECONDS, Attempts
from wssupervisor.runtime.handover.document import (
    NOTIFY,
    HandoverDocument,
    Parts,
    Surroundings,
    backlogs,
)
from wssupervisor.runtime.handover.predecessor import refuse_living
from wssupervisor.runtime.handover.recovery import Found
from wssupervisor.runtime.handover.state_file import StateFile
from wssupervisor.runtime.handover.state_writer import StateWriter
from wssupervisor.runtime.handover.upgrade import Upgrade
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
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.listeners.slot_memory import SlotCounts
from wssupervisor.runtime.monitoring.agent_check import Agent
from wssupervisor.runtime.releases.release import resolve
from wssupervisor.runtime.releases.unpinned import unpinned
from wssupervisor.runtime.signals import obey_signals
from wssupervisor.runtime.supervisor import Ended, Supervisor
from wssupervisor.runtime.systemd import Passed, ServiceNotifier, passed_sockets, stop_command
from wssupervisor.runtime.upkeep import Upkeep
from wssupervisor.runtime.workers.notify_socket import remove_others

log = structlog.get_logger()

NO_DRAIN_SIGNAL = (
    "in shared mode a worker stops accepting only on request, and [drain] signal is none"
)


@dataclass(frozen=True, slots=True)
class Source:
    """The sources of the configuration."""

    path: str | None
    overrides: Overrides

    def load(self, text: str | None) -> Config:
        """Make the configuration from the file's text. Raises ConfigInvalid."""
        return load_config(self.path, self.overrides, text)

    def reread(self) -> Config:
        """Make the configuration from the current file. Raises ConfigInvalid."""
        return self.load(read_config(self.path))


@dataclass(frozen=True, slots=True)
class Beginning:
    """`make` builds the parts; `begin` posts the first event."""

    config: Config
    make: Callable[[Surroundings], Parts]
    begin: Callable[[Supervisor], None]
    restores: bool
    listening: int | None = None
    """The control socket, if systemd held it while no supervisor ran."""


@dataclass(frozen=True, slots=True)
class Running:
    """The objects that are built before the loop starts."""

    parts: Parts
    server: ControlServer
    agent: Agent
    counts: SlotCounts


class Instance:
    """Owns the state file, and the descriptors in systemd's store."""

    def __init__(self, name: str, control: str, source: Source) -> None:
        self._name = name
        self._control = os.path.abspath(control)  # noqa: PTH100 - not resolved
        self._source = source
        self._notifier = ServiceNotifier()
        self._store = FdStore()
        self._file = StateFile(self._control + state_file.SUFFIX)
        self._attempts = Attempts(self._control + state_file.SUFFIX + attempts.SUFFIX)

    async def run(self, before: HandoverDocument | None) -> Ended:
        """Serve until stopped; `before`: the previous program's state. Raises WssError."""
        try:
            return await self._run(before)
        except Exception as error:
            self._attempts.failed(error)
            raise

    async def _run(self, before: HandoverDocument | None) -> Ended:
        async with AsyncExitStack() as made:  # if the start fails, closes what it has made
            beginning = self._beginning(before, made)
            running = self._set_up(beginning, made)
            made.pop_all()
        # A supervisor that fails from here on leaves its workers, and all that a successor needs.
        supervisor = running.parts.supervisor
        begin = partial(self._begin, beginning, supervisor)
        ended = await supervisor.run(begin, running.parts.watch.run)
        await self._end(running, succeeded=ended.status == 0)
        return ended

    def _begin(self, beginning: Beginning, supervisor: Supervisor) -> None:
        beginning.begin(supervisor)
        self._attempts.began()
        asyncio.get_running_loop().call_later(SETTLED_SECONDS, self._attempts.over)

    async def _end(self, running: Running, *, succeeded: bool) -> None:
        """Remove, after all workers have ended, everything that only a successor would need."""
        parts, supervisor = running.parts, running.parts.supervisor
        kill_after = supervisor.fleet.policy.kill_after
        await supervisor.crew.strays.end(kill_after, self._notifier.progress)
        supervisor.crew.finish()
        if succeeded:
            running.counts.remember()
        supervisor.listeners.reset_options()
        parts.history.end()
        self._file.remove()
        self._file.remove_aside()
        self._attempts.over()
        await running.server.close()
        await parts.http.close()
        running.agent.close()
        supervisor.listeners.close()
        self._store.drop([CONTROL, *(slots_name(name) for name in supervisor.listeners.pools)])

    # -- start --------------------------------------------------------------------------------

    def _beginning(self, before: HandoverDocument | None, made: AsyncExitStack) -> Beginning:
        raise_limit()
        if before is not None:
            become_subreaper()
            keep_descriptors()
            return self._after_upgrade(before, made)
        problem: ConfigInvalid | None = None
        try:
            config = self._source.load(text := read_config(self._source.path))
        except ConfigInvalid as error:
            if not self._file.exists():
                raise
            problem = error
        control = ControlSocket.claim(self._control)
        made.callback(control.release)
        refuse_living(self._file, self._name, self._control, is_service=self._notifier.is_service)
        become_subreaper()
        keep_descriptors()
        if self._notifier.is_service:
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
            return self._after_death(found, control, made)
        self._attempts.over()
        self._forget(stored.names, None)
        self._store.settle()  # sockets left in systemd's store would keep their addresses
        self._file.remove()
        if problem is not None:
            raise problem
        return self._first(config, text, passed, slots, control, made)

    def _give_up_what_is_hopeless(self) -> None:
        """Set the state aside if its recovery has failed repeatedly in the same way."""
        if self._file.exists() and (why := self._attempts.begin()) is not None:
            log.error(
                "recovery given up: state of the last supervisor is set aside",
                why=why,
                files=self._file.set_aside(),
            )

    def _first(
        self,
        config: Config,
        text: str | None,
        passed: Sequence[Passed],
        slots: frozenset[SlotId],
        control: ControlSocket,
        made: AsyncExitStack,
    ) -> Beginning:
        """The beginning of an instance with nothing to restore."""
        release = resolve(config)
        warn_unpinned(unpinned(release))
        check_limit(config)
        report_limit(config)
        if self._notifier.is_service:
            acquire.end_leftovers(config)
        pools = acquire.acquired(config, passed, slots)
        listeners = ListenerSet(pools, backlogs(config), _missing_slots(pools))
        made.callback(listeners.close)
        fleet = Fleet(listeners.open(), time.monotonic())
        return Beginning(
            config,
            lambda around: document.begin(text, fleet, listeners, control, around, made),
            lambda supervisor: supervisor.start(release),
            restores=False,
        )

    def _after_upgrade(self, before: HandoverDocument, made: AsyncExitStack) -> Beginning:
        return Beginning(
            self._source.load(before.config_text),
            lambda around: document.restore(before, around, made),
            lambda supervisor: supervisor.resume(before.program),
            restores=True,
        )

    def _after_death(self, found: Found, control: ControlSocket, made: AsyncExitStack) -> Beginning:
        report_limit(found.config)
        return Beginning(
            found.config,
            lambda around: document.restore(found.document, around, made, control),
            lambda supervisor: supervisor.recover(found.event(), found.at, steered=found.steered),
            restores=True,
            listening=found.control,
        )

    def _forget(self, names: frozenset[str], found: Found | None) -> None:
        """Remove stored descriptors and socket files that are no longer needed."""
        needed = set() if found is None else recovery.names_needed(found)
        self._store.drop(names - needed)
        workers = () if found is None else found.document.supervisor.crew.workers
        remove_others(self._control + NOTIFY, {worker.notify.address for worker in workers})

    # -- setting up ---------------------------------------------------------------------------

    def _set_up(self, beginning: Beginning, made: AsyncExitStack) -> Running:
        config = beginning.config

        def keep(actions: Sequence[Action]) -> None:
            writer.keep(actions)

        def mend() -> None:
            upkeep.look()

        around = Surroundings(
            config,
            self._control,
            self._source.reread,
            self._store,
            self._notifier,
            keep,
            mend,
        )
        parts = beginning.make(around)
        writer = StateWriter(self._file, self._name, lambda: document.save(parts, lean=True))
        agent = Agent(
            config.http.agent,
            lambda: parts.supervisor.view().agent_line,
            may_wait=beginning.restores,
        )
        made.callback(agent.close)
        upgrade = Upgrade(
            lambda: parts.supervisor.view().why_not_upgradable,
            lambda: _handed_over(parts),
            parts.http.quiet,
        )
        if beginning.listening is not None:
            parts.control.adopt(beginning.listening)
        elif not parts.control.listens:
            parts.control.listen()
        stop = stop_command(config.name)
        server = ControlServer(
            parts.control,
            Requests(Services(parts.supervisor, parts.watch, upgrade, parts.scrape)).handle,
            group_may_operate=config.control.group_may_operate,
            instead={} if stop is None else {"stop": stop},
        )
        made.push_async_callback(server.close)
        upkeep = self._upkeep(parts, server, writer)
        self._store_sockets(parts)
        if not beginning.restores:
            _greet(config, parts.supervisor.listeners, self._control)
        obey_signals(parts.supervisor, upgrade)
        parts.history.follow(lambda note: _notify_systemd(self._notifier, str(note["kind"])))
        counts = SlotCounts(parts.supervisor.listeners.pools.values())
        if not parts.supervisor.listeners.slots_before:
            counts.remember()
        return Running(parts, server, agent, counts)

    def _upkeep(self, parts: Parts, server: ControlServer, writer: StateWriter) -> Upkeep:
        """Mends the directory and its lock first, because the other files are in it."""
        supervisor = parts.supervisor

        def control() -> bool:
            made = server.mend()
            if made:
                self._store.drop([CONTROL])
                self._store.put(CONTROL, [parts.control.listening.fileno()])
            return made

        mends = {
            f"control socket {self._control}": control,
            "state": lambda: writer.mend(supervisor.effects.pending),
            "history": parts.history.mend,
            "notify sockets of workers": supervisor.crew.mend,
            "[http] address": parts.http.mend,
        }
        return Upkeep(mends, supervisor.listeners.pools.values())

    def _store_sockets(self, parts: Parts) -> None:
        """Store in systemd the sockets that would be lost with us, before workers use them."""
        self._store.put(CONTROL, [parts.control.listening.fileno()])
        for name, pool in parts.supervisor.listeners.pools.items():
            if pool.source == "self":
                self._store.put(slots_name(name), [slot.socket.fileno() for slot in pool.slots])
        self._store.settle()


def _handed_over(parts: Parts) -> HandoverDocument:
    """The document for the program on disk. Raises Busy."""
    if not parts.supervisor.retry():
        raise Busy(
            "an action for a worker still fails and is being retried (see the log). Try again later"
        )
    return document.save(parts, lean=False)


def _greet(config: Config, listeners: ListenerSet, control: str) -> None:
    log.info("starting", version=__version__, control=control, workers=config.app.workers)
    for pool in listeners.pools.values():
        log.info(
            "listening",
            listener=pool.name,
            address=pool.address,
            slots=len(pool.slots),
            source=pool.source,
            **({} if pool.why_shared is None else {"shared": pool.why_shared}),
        )
        if pool.why_shared is not None and config.drain.signal is None:
            log.warning("old workers will keep accepting", listener=pool.name, why=NO_DRAIN_SIGNAL)


def _missing_slots(pools: Sequence[Pool]) -> Mapping[str, int]:
    """Slots before, by listener, of listeners that have fewer now.

    A run that ends well with fewer slots makes their number the new reference.
    """
    missing, now = SlotCounts(pools).missing(), {pool.name: pool for pool in pools}
    for name, before in missing.items():
        log.warning(
            "fewer slots than before",
            listener=name,
            slots=len(now[name].slots),
            before=before,
            advice="if this is not intended, stop the service and the socket unit, then start both",
        )
    return missing


def _notify_systemd(notifier: ServiceNotifier, kind: str) -> None:
    if kind in (NoteKind.STARTED.value, NoteKind.RECOVERED.value):
        notifier.ready()
    elif kind == NoteKind.STOP_BEGUN.value:
        notifier.stopping()
