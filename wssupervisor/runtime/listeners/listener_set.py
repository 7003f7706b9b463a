"""All listeners of the instance together: acquired at start, steered as one, closed at the end."""

import contextlib
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from wssupervisor.errors import SteeringRefused
from wssupervisor.fleet.model import Listener, SlotId, Table, WorkerId
from wssupervisor.runtime.listeners import socket_options
from wssupervisor.runtime.listeners.held_probes import HeldProbes
from wssupervisor.runtime.listeners.pool import Pool, PoolState
from wssupervisor.runtime.listeners.socket_options import set_nonblocking
from wssupervisor.runtime.listeners.steering import Steering, SteeringState
from wssupervisor.runtime.listeners.tcp_pool import TcpPool
from wssupervisor.runtime.listeners.unix_pool import UnixPool

log = structlog.get_logger()


class Moment(NamedTuple):
    """The span in which a table took force, on one listener after another (CLOCK_MONOTONIC).

    At `done` the table is in force on all listeners. `done` may be late: this process may have
    been delayed before it read the clock.
    """

    begun: float
    done: float


@dataclass(frozen=True, slots=True)
class ListenerState:
    """`holders`: the worker that got each slot last. `steering` is None for a single socket."""

    pool: PoolState
    steering: SteeringState | None
    holders: dict[SlotId, str]


@dataclass(frozen=True, slots=True)
class ListenerSetState:
    listeners: tuple[ListenerState, ...]
    slots_before: dict[str, int]


class ListenerSet:
    """Owns the pools."""

    def __init__(
        self,
        pools: Sequence[Pool],
        backlogs: Mapping[str, int],
        slots_before: Mapping[str, int] | None = None,
        steerings: Mapping[str, Steering] | None = None,
        holders: Mapping[SlotId, str] | None = None,
    ) -> None:
        """`slots_before`: of each listener that had more slots when the instance ran before.

        `steerings` None: no table is in force. `holders`: the worker that got each slot last.
        """
        self.pools = {pool.name: pool for pool in pools}
        self.held_probes = HeldProbes()
        # A single socket has nothing to steer; several that are shared are steered to one of them.
        self.steerings = (
            {
                pool.name: Steering(pool)
                for pool in pools
                if isinstance(pool, TcpPool) and len(pool.slots) > 1
            }
            if steerings is None
            else dict(steerings)
        )
        self.slots_before = dict(slots_before or {})
        self._backlogs = backlogs
        self.holders = dict(holders or {})
        self.unrestored: dict[SlotId, str] = {}
        """By slot: a change by a worker that cannot be undone; completes the sentence "it …"."""
        self.deaf: set[SlotId] = set()
        """Slots with a packet filter that a worker locked: no client reaches them."""

    def save(self) -> ListenerSetState:
        found = []
        for name, pool in self.pools.items():
            own = {slot.inode for slot in pool.slots}
            holders = {slot: who for slot, who in self.holders.items() if slot in own}
            steering = self.steerings[name].save() if name in self.steerings else None
            found.append(ListenerState(pool.save(), steering, holders))
        return ListenerSetState(tuple(found), self.slots_before)

    @classmethod
    def restore(
        cls, state: ListenerSetState, backlogs: Mapping[str, int], *, attach: bool
    ) -> "ListenerSet":
        """Continue with the saved steering. `attach`: whether to attach it again.

        Raises SteeringRefused.
        """
        pools: list[Pool] = []
        steerings: dict[str, Steering] = {}
        holders: dict[SlotId, str] = {}
        for listener in state.listeners:
            pools.append(pool := restored_pool(listener.pool))
            holders |= listener.holders
            if listener.steering is not None and isinstance(pool, TcpPool):
                steerings[pool.name] = Steering.restore(pool, listener.steering, attach=attach)
        found = cls(pools, backlogs, state.slots_before, steerings, holders)
        found._inspect_all()
        return found

    def keep_own(self, keep: Callable[[], object]) -> None:
        """Call `keep` after each new connection of our own, to save it."""
        for pool in self.pools.values():
            if isinstance(pool, TcpPool):
                pool.own.keep = keep

    def measure(self) -> list[Listener]:
        """Measure each slot's group index. Raises ListenFailed, SteeringRefused."""
        return [self._listener(pool) for pool in self.pools.values()]

    def open(self) -> list[Listener]:
        """Check that no other process listens on an address, then `measure`.

        Raises AddressTaken, ListenFailed, SteeringRefused.
        """
        for pool in self.pools.values():
            pool.check_alone()
        self._inspect_all()
        return self.measure()

    def _inspect_all(self) -> None:
        self.inspect({slot.inode for pool in self.pools.values() for slot in pool.slots})

    def _listener(self, pool: Pool) -> Listener:
        steering = self.steerings.get(pool.name)
        inodes = [slot.inode for slot in pool.slots] if steering is None else steering.measure()
        return Listener(pool.name, tuple(inodes), inodes[0] if pool.why_shared else None)

    def steer(self, table: Table) -> Moment:
        """Put the table in force on all listeners, or on none; returns the moment.

        Raises SteeringRefused, OSError. Named slots get their backlog back first: servers call
        listen(100) on what they inherit.
        """
        for name, slots in table.weights.items():
            for inode in slots:
                self.pools[name].by_inode(inode).listen(self._backlogs[name])
        begun = time.monotonic()
        before = {name: (own.weights, own.by_client) for name, own in self.steerings.items()}
        try:
            for name, steering in self.steerings.items():
                steering.attach(table.weights[name], by_client=name in table.by_client)
        except (SteeringRefused, OSError):
            # On all listeners: after a supervisor's death the table in force is unknown.
            for name, steering in self.steerings.items():
                with contextlib.suppress(SteeringRefused, OSError):
                    weights, by_client = before[name]
                    steering.attach(weights, by_client=by_client)
            raise
        return Moment(begun, time.monotonic())

    def hand_out(self, slots: Mapping[str, SlotId], worker: WorkerId) -> None:
        """Give these slots to a worker; options that earlier workers changed are restored."""
        for name, inode in slots.items():
            self._reset_options(self.pools[name], inode)
            self.holders[inode] = f"worker {worker.index} of generation {worker.generation}"

    def inspect(self, slots: Iterable[SlotId]) -> None:
        """Find slots that a worker has made deaf.

        Deafness must be known before a slot is chosen; other options are restored by `hand_out`.
        """
        for pool in self.pools.values():
            for slot in pool.slots:
                if slot.inode in slots and socket_options.is_deaf(slot.socket):
                    self._found_deaf(pool, slot.inode)

    def _found_deaf(self, pool: Pool, inode: SlotId) -> None:
        if inode in self.deaf:
            return
        self.deaf.add(inode)
        log.error(
            "a worker locked a packet filter on its listening socket; the slot is not used again",
            listener=pool.name,
            by=self._holder(inode),
            advice="restart the instance, with its socket unit if it has one",
        )

    def _holder(self, inode: SlotId) -> str:
        return self.holders.get(inode, "a worker of an earlier run")

    def reset_options(self) -> None:
        """Restore the options of all slots: systemd keeps its sockets for the next run."""
        for pool in self.pools.values():
            for slot in pool.slots:
                self._reset_options(pool, slot.inode)

    def unblock(self, shared: Container[SlotId]) -> None:
        """Make shared slots non-blocking again: in a blocking one a worker can hang in accept."""
        for pool in self.pools.values():
            for slot in pool.slots:
                if slot.inode in shared and set_nonblocking(slot.socket):
                    log.warning(
                        "a worker made a shared listening socket blocking; it was reset",
                        listener=pool.name,
                        by=self.holders.get(slot.inode),
                    )

    def _reset_options(self, pool: Pool, inode: SlotId) -> None:
        who = self._holder(inode)
        left = socket_options.restore(pool.by_inode(inode).socket, pool.original_options)
        stuck = ", ".join(f"{one.option} ({one.why})" for one in left if one.why is not None)
        self.unrestored.pop(inode, None)
        if stuck:
            self.unrestored[inode] = (
                f"was given a listening socket on which {who} left {stuck}. Restart the instance,"
                " with its socket unit if it has one"
            )
            log.error(
                "options that a worker left on a listening socket cannot be restored",
                listener=pool.name,
                options=stuck,
                by=who,
            )
        mended = ", ".join(one.option for one in left if one.why is None)
        if mended:
            log.warning(
                "options that a worker left on a listening socket were restored",
                listener=pool.name,
                options=mended,
                by=who,
            )

    def look(self) -> dict[SlotId, int | None]:
        """Return the length of each slot's queue; None for a slot that was shut down."""
        return {slot.inode: slot.look() for pool in self.pools.values() for slot in pool.slots}

    def slot_inodes(self) -> frozenset[SlotId]:
        return frozenset(slot.inode for pool in self.pools.values() for slot in pool.slots)

    def connection_inodes(self) -> set[int]:
        """Inodes of all accepted connections."""
        return set().union(*(pool.connections().held for pool in self.pools.values()))

    def recover(self) -> Iterator[Listener]:
        """Make slots listen again that a worker shut down; yields listeners whose order changed.

        Raises SteeringRefused, OSError.
        """
        for name, pool in self.pools.items():
            steering, (first, *_) = self.steerings.get(name), pool.slots
            if steering is not None:
                if steering.recover(self._backlogs[name]):
                    yield Listener(name, tuple(steering.order))
            elif not first.listening():
                first.socket.listen(self._backlogs[name])
                yield Listener(name, (first.inode,))

    @property
    def probes_left(self) -> bool:
        """Whether our probes may still be in a slot's queue."""
        return any(steering.probes_left for steering in self.steerings.values())

    def take_back_probes(self, unheld: Container[SlotId]) -> None:
        """Remove our own probes that no process accepted from slots that no process holds."""
        for steering in self.steerings.values():
            steering.take_back(unheld)

    def descriptors(self, slots: Mapping[str, SlotId]) -> list[int]:
        """Return the worker's listening descriptors, in the order of the listeners."""
        return [pool.by_inode(slots[name]).socket.fileno() for name, pool in self.pools.items()]

    def close(self) -> None:
        self.held_probes.close()
        for pool in self.pools.values():
            pool.close()


def restored_pool(state: PoolState) -> Pool:
    """Restore a pool as an object of the class that saved it."""
    return TcpPool.restore(state) if state.path is None else UnixPool.restore(state)
