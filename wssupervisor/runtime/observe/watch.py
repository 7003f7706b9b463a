"""Observes queues, handshakes and connections repeatedly, and posts them to the fleet."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog

from wssupervisor import logging
from wssupervisor.fleet.census_pace import CensusPace, Taken
from wssupervisor.fleet.counters import LAG_BOUNDS, Histogram
from wssupervisor.fleet.events import CensusTaken, Observed
from wssupervisor.fleet.model import InstanceState, WorkerId, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.view import FleetView, WorkerView
from wssupervisor.runtime.effects import never_raises
from wssupervisor.runtime.observe import census, why_document
from wssupervisor.runtime.observe.hidden import ADVICE, Hidden
from wssupervisor.runtime.observe.status_document import headline
from wssupervisor.runtime.observe.usage import Usage
from wssupervisor.runtime.supervisor import Supervisor
from wssupervisor.runtime.systemd import ServiceNotifier

log = structlog.get_logger()

LOOKS_A_STALL = 5
"""Looks at the queues in `accept_stall`, the time after which a queue without change is stalled."""
LOOK_SECONDS = (0.05, 0.4)
"""Shortest and longest interval between two looks."""
CHORE_SECONDS = 1.0
"""Interval of work that can wait: orphans, systemd's status line."""
UNTIMED = frozenset({InstanceState.STARTING, InstanceState.STOPPING})
"""States with limits of the configuration: systemd's own timeouts are extended."""


@dataclass(frozen=True, slots=True)
class WatchState:
    """`first_seen`, `lag`: see Watch."""

    first_seen: dict[int, float]
    lag: Histogram


class Watch:
    def __init__(
        self,
        supervisor: Supervisor,
        notifier: ServiceNotifier,
        mend: Callable[[], object],
        saved: WatchState | None = None,
    ) -> None:
        """`mend`: makes deleted files again; never raises."""
        self._supervisor = supervisor
        self._notifier = notifier
        self._counting = asyncio.Lock()
        self._last: census.Count | None = None
        self.first_seen: dict[int, float] = {} if saved is None else dict(saved.first_seen)
        """When each open connection was first counted, by the inode of our end."""
        self._hidden = Hidden()
        self._pace = CensusPace()
        self._alive_at = 0.0
        self._chore_at = 0.0
        self._blind: str | None = None
        """Why the last look failed; logged once."""
        self.usage = Usage()
        self.lag = Histogram() if saved is None else saved.lag
        """Scheduling delays of the event loop, in seconds."""
        self._mend = mend
        supervisor.history.follow(self._note)

    def save(self, *, lean: bool) -> WatchState:
        """`lean`: without `first_seen`."""
        return WatchState({} if lean else dict(self.first_seen), self.lag)

    def _note(self, note: Mapping[str, object]) -> None:
        """Update systemd's status line, and count connections that the noted event may cost."""
        self._report_status(self._supervisor.view())
        kind = NoteKind.named(str(note["kind"]))
        if kind is not None:
            self._pace.noted(kind)
        if kind is NoteKind.CUTOVER and self._hidden.warned:
            self._pace.count_at_once()

    def look(self) -> None:
        """Look at slots, queues, processes and output: all that is cheap."""
        supervisor, listeners = self._supervisor, self._supervisor.listeners
        if listeners.probes_left:
            fleet = supervisor.view()
            if fleet.active() is not None:
                listeners.take_back_probes(fleet.unheld_slots)
        over = supervisor.handshakes.over()  # before the queues, which show those that complete
        listeners.unblock(supervisor.crew.shared_slots())
        queues = listeners.look()
        if None in queues.values():
            supervisor.recover_slots()
            queues = listeners.look()
        lengths = {slot: count or 0 for slot, count in queues.items()}
        occupied = supervisor.crew.strays.occupied
        supervisor.post(Observed(lengths, over, frozenset(listeners.deaf), occupied))
        supervisor.crew.look()
        supervisor.retry()

    async def run(self) -> None:
        """Observe until cancelled."""
        loop = asyncio.get_running_loop()
        counting: asyncio.Task[None] | None = None
        try:
            while True:
                self.glance()
                if time.monotonic() >= self._chore_at:
                    self._chore_at = time.monotonic() + CHORE_SECONDS
                    never_raises("chores", self._do_chores)
                self._report_alive()
                if self._census_is_due() and (counting is None or counting.done()):
                    counting = loop.create_task(self.count())
                due = time.monotonic() + (pause := self._look_seconds())
                await asyncio.sleep(pause)
                self.lag.observe(LAG_BOUNDS, max(0.0, time.monotonic() - due))
        finally:
            if counting is not None:
                counting.cancel()
                await asyncio.gather(counting, return_exceptions=True)

    def _do_chores(self) -> None:
        logging.log_suppressed(time.monotonic())
        self._supervisor.crew.reap_orphans()
        self._mend()
        fleet = self._supervisor.view()
        self._look_at_listeners(fleet)
        self.usage.look([worker.pid for worker in _workers(fleet) if worker.pid is not None])
        self._report_status(fleet)
        if fleet.state in UNTIMED:
            self._notifier.extend()

    def _report_status(self, fleet: FleetView) -> None:
        self._notifier.status(headline(fleet, self._supervisor.listeners))

    def _look_seconds(self) -> float:
        low, high = LOOK_SECONDS
        return min(max(self._supervisor.fleet.policy.accept_stall / LOOKS_A_STALL, low), high)

    def glance(self) -> bool:
        """Look once. Return False if that fails, such as without a free descriptor."""
        try:
            self.look()
        except Exception as error:  # at the loop's edge: a failed look must not end the supervisor
            if str(error) != self._blind:
                log.exception("cannot look at the sockets")
            self._blind = str(error)
            return False
        self._blind = None
        return True

    def _report_alive(self) -> None:
        interval = self._notifier.watchdog
        now = time.monotonic()
        if interval is not None and now - self._alive_at >= interval:
            self._notifier.alive()
            self._alive_at = now

    async def count(self) -> None:
        """Take one census and post it to the fleet."""
        async with self._counting:
            supervisor = self._supervisor
            self._pace.begin(time.monotonic())
            if not self.glance():
                return
            pools = list(supervisor.listeners.pools.values())
            processes = supervisor.crew.processes()
            others = supervisor.crew.strays.sockets
            try:
                if look_for_holders := supervisor.crew.look_for_holders():
                    (await asyncio.to_thread(look_for_holders))()
                stalled = self._stalled()
                found = await asyncio.to_thread(census.take, pools, processes, others, stalled)
            except Exception:  # as in `glance`
                log.exception("census failed")
                return
            found = self._last = self._with_hidden(found)
            seen = self.first_seen
            self.first_seen = {inode: seen.get(inode, found.began_at) for inode in found.held}
            log.debug(
                "census",
                unattributed=found.unattributed,
                cpu_seconds=round(found.cpu_seconds, 4),
            )
            event = CensusTaken(
                found.by_worker,
                found.unattributed,
                found.began_at,
                found.listening,
                found.held_up,
            )
            supervisor.post(event)
            taken = Taken(found.began_at, found.cpu_seconds)
            self._pace.taken(taken, supervisor.fleet.census_need(), time.monotonic())

    def _stalled(self) -> frozenset[WorkerId]:
        workers = _workers(self._supervisor.view())
        return frozenset(worker.id for worker in workers if worker.stalled_since is not None)

    def _with_hidden(self, found: census.Count) -> census.Count:
        workers = {worker.id: worker for worker in _workers(self._supervisor.view())}
        slots = {worker: frozenset(one.slots.values()) for worker, one in workers.items()}
        for worker in found.hidden & workers.keys() - self._hidden.warned:
            self._hidden.warned.add(worker)
            log.warning(
                "cannot inspect a worker",
                worker=str(worker),
                pid=workers[worker].pid,
                advice=ADVICE,
            )
        closed = {
            worker for worker in found.hidden & workers.keys() if workers[worker].gets_no_more
        }
        return self._hidden.judged(found, slots, closed)

    async def connections_of(self, generation: int) -> why_document.Seen:
        """What the kernel reports of each connection of a generation. Raises OSError."""
        async with self._counting:
            supervisor = self._supervisor
            own = {
                worker: process
                for worker, process in supervisor.crew.processes().items()
                if worker.generation == generation
            }
            pools = list(supervisor.listeners.pools.values())
            return await asyncio.to_thread(why_document.look, pools, own, dict(self.first_seen))

    def _census_is_due(self) -> bool:
        now, need, last = time.monotonic(), self._supervisor.fleet.census_need(), self._last
        if not self._pace.is_due(need, now):
            return False
        if last is None or not self._pace.may_put_off(need):
            return True
        processes = self._supervisor.crew.processes()
        descriptors = sum(process.descriptor_count() for process in processes.values())
        growth = descriptors / max(1, sum(last.descriptors.values()))
        return not self._pace.put_off(growth, now)

    def _counts_may_differ(self) -> bool:
        """Whether a census now may find other counts than the last one; only a hint."""
        processes = self._supervisor.crew.processes()
        return self._last is None or census.may_have_changed(self._last, processes)

    async def fresh_count(self) -> None:
        """Count for an operator, unless the last census is recent or would find the same."""
        if self._pace.answers_status(time.monotonic()):
            return
        if self._pace.is_expensive() and not self._counts_may_differ():
            return
        await self.count()

    def freshen(self) -> None:
        """For monitoring: count soon if the numbers of connections may have changed."""
        supervisor = self._supervisor
        need, reloading = supervisor.fleet.census_need(), supervisor.view().reload is not None
        hastens = self._pace.refreshes_metrics(need, time.monotonic(), reloading=reloading)
        if hastens and self._counts_may_differ():
            self._pace.count_at_once()

    def _look_at_listeners(self, fleet: FleetView) -> None:
        """If a ready worker seems not to listen on its slots, count soon: censuses judge it."""
        for worker in _workers(fleet):
            if worker.should_listen and not self._supervisor.crew.seems_to_listen(worker.id):
                self._pace.count_soon(time.monotonic())


def _workers(fleet: FleetView) -> Iterator[WorkerView]:
    """All workers; a seat that waits for its next worker has none."""
    for generation in fleet.generations:
        yield from (one for one in generation.workers if one.state is not WorkerState.WAITING)
