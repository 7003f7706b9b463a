"""Looks at queues, handshakes and connections again and again, and tells the fleet."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from wssupervisor import logging
from wssupervisor.fleet.counters import LAG_BOUNDS, Histogram
from wssupervisor.fleet.events import CensusTaken, Observed, SlotReleased
from wssupervisor.fleet.lifecycle import EMPTY_ROUNDS, FINISHING
from wssupervisor.fleet.model import InstanceState, WorkerId, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.state import Drain, ReloadPhase
from wssupervisor.fleet.steering import nothing_comes, unheld_slots
from wssupervisor.fleet.view import instance_state
from wssupervisor.runtime.effects import never_raises
from wssupervisor.runtime.observe import census, why
from wssupervisor.runtime.observe.hidden import ADVICE, Hidden
from wssupervisor.runtime.observe.status import headline
from wssupervisor.runtime.observe.usage import Usage
from wssupervisor.runtime.supervisor import Supervisor
from wssupervisor.runtime.systemd import ServiceNotifier

log = structlog.get_logger()

LOOKS_A_STALL = 5
"""So many looks at the queues in the time after which one that does not move is stalled."""
LOOK_SECONDS = (0.05, 0.4)
"""At least and at most between two looks."""
CHORE_SECONDS = 1.0
"""Between two rounds of what may wait: orphans, systemd's status line."""
CENSUS_SECONDS = 0.5
"""Between two censuses while somebody drains."""
IDLE_CENSUS_SECONDS = 30.0
"""And while nobody does: a dump of the kernel's table costs a millisecond, however empty."""
CENSUS_SHARE = 0.01
"""Of one core, at most, except for the second look at a drain that seems to have ended."""
IDLE_CENSUS_SHARE = 0.0005
FRESH_SECONDS = 1.0
"""A census no older than this is good enough for `status`."""
EXPENSIVE_SECONDS = 0.01
"""A census that costs more is not taken because an operator looks, unless descriptors hint that
it would find something else than the last one."""
ASKED_SHARE = 0.05
"""Of one core, at most, for censuses that are only taken because an operator looks."""


COUNTED_FOR = frozenset(
    one.value
    for one in (
        NoteKind.RELOAD_BEGUN,
        NoteKind.ROLLBACK_BEGUN,
        NoteKind.RELEASING_SOCKETS,
        NoteKind.WORKER_UNRESPONSIVE,
    )
)
"""What follows these depends on a census, or reports how many connections were lost or left."""
UNTIMED = frozenset({InstanceState.STARTING, InstanceState.STOPPING})
"""Limits of the configuration hold for these, not systemd's own."""


@dataclass(frozen=True, slots=True)
class WatchState:
    """`first_seen`, `lag`: see Watch."""

    first_seen: dict[int, float]
    lag: Histogram


class Watch:
    def __init__(
        self,
        supervisor: Supervisor,
        herald: ServiceNotifier,
        mend: Callable[[], object],
        saved: WatchState | None = None,
    ) -> None:
        """`mend`: make again what was swept away; raises nothing."""
        self._supervisor = supervisor
        self._herald = herald
        self._counting = asyncio.Lock()
        self._last: census.Count | None = None
        self.first_seen: dict[int, float] = {} if saved is None else dict(saved.first_seen)
        """When each connection that lives was first counted, by the inode of our end."""
        self._suspects: set[object] = set()
        self._hidden = Hidden()
        self._census_at = 0.0
        self._tried_at = 0.0
        self._alive_at = 0.0
        self._chore_at = 0.0
        self._blind: str | None = None
        """Why the last look failed; said once."""
        self.usage = Usage()
        self.lag = Histogram() if saved is None else saved.lag
        """How much later than asked for the loop went on."""
        self._mend = mend
        supervisor.history.follow(self._note)

    def save(self, *, lean: bool) -> WatchState:
        """`lean`: without when each connection was first counted."""
        return WatchState({} if lean else dict(self.first_seen), self.lag)

    def _note(self, note: Mapping[str, object]) -> None:
        """Told at once; and what somebody has whom it may cost his connections is known in time."""
        self._tell_status()
        cut_over = note["kind"] == NoteKind.CUTOVER.value and self._hidden.told
        if note["kind"] in COUNTED_FOR or cut_over:
            self._census_at = 0.0

    def look(self) -> None:
        """Slots, queues, processes, output: all that is cheap."""
        supervisor, gate = self._supervisor, self._supervisor.gate
        state = supervisor.fleet.state
        if state.active is not None and gate.probes_left:
            gate.take_back_probes(unheld_slots(state))
        over = supervisor.handshakes.over()  # before the queues: what leaves it is seen in them
        gate.unblock(supervisor.crew.shared_slots())
        queues = gate.look()
        if None in queues.values():
            supervisor.recover_slots()
            queues = gate.look()
        lengths = {slot: count or 0 for slot, count in queues.items()}
        occupied = supervisor.crew.strays.occupied
        supervisor.post(Observed(lengths, over, frozenset(gate.deaf), occupied))
        supervisor.crew.look()
        supervisor.retry()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        counting: asyncio.Task[None] | None = None
        try:
            while True:
                self.glance()
                if time.monotonic() >= self._chore_at:
                    self._chore_at = time.monotonic() + CHORE_SECONDS
                    never_raises("chores", self._do_chores)
                self._say_alive()
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
        logging.tell_suppressed(time.monotonic())
        self._supervisor.crew.reap_orphans()
        self._mend()
        self._look_at_listeners()
        self.look_at_usage()
        self._tell_status()
        if instance_state(self._supervisor.fleet.state) in UNTIMED:
            self._herald.extend()

    def look_at_usage(self) -> None:
        workers = self._supervisor.fleet.state.workers()
        self.usage.look([one.pid for one in workers if one.pid is not None])

    def _tell_status(self) -> None:
        self._herald.status(headline(self._supervisor.view(), self._supervisor.gate))

    def _look_seconds(self) -> float:
        low, high = LOOK_SECONDS
        return min(max(self._supervisor.fleet.state.policy.accept_stall / LOOKS_A_STALL, low), high)

    def glance(self) -> bool:
        """Look; what cannot be seen now (no descriptor left) may be seen next time: False."""
        try:
            self.look()
        except Exception as error:  # at the loop's edge: not seeing must not end what serves
            if str(error) != self._blind:
                log.exception("cannot look at the sockets")
            self._blind = str(error)
            return False
        self._blind = None
        return True

    def _say_alive(self) -> None:
        interval = self._herald.watchdog
        now = time.monotonic()
        if interval is not None and now - self._alive_at >= interval:
            self._herald.alive()
            self._alive_at = now

    async def count(self) -> None:
        """Take one census and tell the fleet."""
        async with self._counting:
            supervisor = self._supervisor
            self._tried_at = time.monotonic()
            self._census_at = self._tried_at + IDLE_CENSUS_SECONDS
            if not self.glance():
                return
            pools = list(supervisor.gate.pools.values())
            processes = supervisor.crew.processes()
            others = supervisor.crew.strays.sockets
            try:
                if look_for_holders := supervisor.crew.look_for_holders():
                    (await asyncio.to_thread(look_for_holders))()
                stalled = self._stalled()
                found = await asyncio.to_thread(census.take, pools, processes, others, stalled)
            except Exception:  # the same
                log.exception("census failed")
                return
            found = self._last = self._with_hidden(found)
            seen = self.first_seen
            self.first_seen = {inode: seen.get(inode, found.began_at) for inode in found.held}
            log.debug(
                "census",
                unattributed=found.unattributed,
                handshakes_over=supervisor.fleet.state.steering.handshakes_over,
                epoch=supervisor.fleet.state.steering.epoch,
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
            self._look_for_deserters(found)
            self._census_at = time.monotonic() + self._pause(found)

    def _stalled(self) -> frozenset[WorkerId]:
        workers = self._supervisor.fleet.state.workers()
        return frozenset(one.id for one in workers if one.stalled_since is not None)

    def _with_hidden(self, found: census.Count) -> census.Count:
        state = self._supervisor.fleet.state
        workers = {one.id: one for one in state.workers()}
        slots = {worker: frozenset(one.slots.values()) for worker, one in workers.items()}
        for worker in found.hidden & workers.keys() - self._hidden.told:
            self._hidden.told.add(worker)
            log.warning(
                "worker cannot be looked into",
                worker=str(worker),
                pid=workers[worker].pid,
                advice=ADVICE,
            )
        closed = {
            worker
            for worker in found.hidden & workers.keys()
            if workers[worker].drain is not None
            and all(
                nothing_comes(state, workers[worker], slot, slots[worker]) for slot in slots[worker]
            )
        }
        return self._hidden.judged(found, slots, closed)

    async def connections_of(self, generation: int) -> why.Seen:
        """What the kernel tells of each of its connections. Raises OSError."""
        async with self._counting:
            supervisor = self._supervisor
            own = {
                worker: process
                for worker, process in supervisor.crew.processes().items()
                if worker.generation == generation
            }
            pools = list(supervisor.gate.pools.values())
            return await asyncio.to_thread(why.look, pools, own, dict(self.first_seen))

    def _census_is_due(self) -> bool:
        """It is, unless nobody drains and it would be dearer by now than when it was set down."""
        now = time.monotonic()
        last = self._last
        if last is not None and self._somebody_waits():
            # A drain that began since then does not wait for the next look of a quiet time.
            self._census_at = min(self._census_at, self._tried_at + self._pause(last))
        if now < self._census_at:
            return False
        if last is None or self._census_at == 0.0 or self._suspects or self._somebody_waits():
            return True
        processes = self._supervisor.crew.processes()
        descriptors = sum(process.descriptor_count() for process in processes.values())
        more = max(1.0, descriptors / max(1, sum(last.descriptors.values())))
        self._census_at = last.began_at + more * last.cpu_seconds / IDLE_CENSUS_SHARE
        return now >= self._census_at

    def _somebody_waits(self) -> bool:
        """For a worker, or all of them, to have no connection left; or for one to have another."""
        state = self._supervisor.fleet.state
        out = state.out_of_rotation
        return (
            bool(self._drains())
            or (out is not None and out.emptied_at is None)
            or any(one.stalled_since is not None for one in state.workers())
            or self._letting_go()
        )

    def _letting_go(self) -> bool:
        """A reload waits until old workers have let go of a shared listener."""
        reload = self._supervisor.fleet.state.reload
        return reload is not None and reload.phase is ReloadPhase.RELEASING_SOCKETS

    def _drains(self) -> list[Drain]:
        return [
            one.drain
            for one in self._supervisor.fleet.state.workers()
            if one.state in FINISHING and one.drain is not None
        ]

    def _pause(self, found: census.Count) -> float:
        """Seconds until the next census: rare when dear, soon when it may be a drain's last."""
        drains = self._drains()
        if (
            self._suspects
            or self._letting_go()
            or any(0 < drain.empty_rounds < EMPTY_ROUNDS for drain in drains)
        ):
            return CENSUS_SECONDS
        if self._somebody_waits():
            return max(CENSUS_SECONDS, found.cpu_seconds / CENSUS_SHARE)
        return max(IDLE_CENSUS_SECONDS, found.cpu_seconds / IDLE_CENSUS_SHARE)

    async def fresh_count(self) -> None:
        """Count for an operator: where that is expensive, not when no count can have changed."""
        last = self._last
        if last is not None:
            age = time.monotonic() - last.began_at
            if age < max(FRESH_SECONDS, last.cpu_seconds / ASKED_SHARE):
                return
            expensive = last.cpu_seconds >= EXPENSIVE_SECONDS
            if expensive and not census.may_have_changed(last, self._supervisor.crew.processes()):
                return
        await self.count()

    def freshen(self) -> None:
        """For monitoring: have the connections counted soon where their numbers may have changed.

        Descriptors only hint at that: a worker opens files, too.
        """
        last, fleet = self._last, self._supervisor.fleet.state
        if last is None or fleet.reload is not None or self._somebody_waits():
            return
        if census.may_have_changed(last, self._supervisor.crew.processes()):
            self._count_soon(last)

    def _count_soon(self, last: census.Count) -> None:
        """At the rate at which it is done while somebody drains."""
        pause = max(CENSUS_SECONDS, last.cpu_seconds / CENSUS_SHARE)
        if time.monotonic() >= self._tried_at + pause:
            self._census_at = 0.0

    def _look_at_listeners(self) -> None:
        """A ready worker that has no listener where it was placed: count, and then judge."""
        for one in self._supervisor.fleet.state.workers():
            ready = one.state is WorkerState.READY
            if ready and not self._supervisor.crew.seems_to_listen(one.id):
                self._census_at = min(self._census_at, time.monotonic() + CENSUS_SECONDS)

    def _look_for_deserters(self, found: census.Count) -> None:
        """Ready workers whose tree no longer holds their slots, in two censuses in a row."""
        suspects: set[object] = set()
        for worker, inodes in found.listening.items():
            one = self._supervisor.fleet.state.worker(worker)
            if one is None or one.state is not WorkerState.READY:
                continue
            if not set(one.slots.values()) <= inodes:
                suspects.add(worker)
                if worker in self._suspects:
                    self._supervisor.post(SlotReleased(worker))
        self._suspects = suspects
