"""The slots of a supervisor that died: held by systemd, duplicated from workers, or bound again."""

import os
import socket
from collections.abc import Sequence
from dataclasses import replace

from wssupervisor.config.model import Address, Config
from wssupervisor.errors import ListenFailed
from wssupervisor.fleet.model import SlotId
from wssupervisor.fleet.state import State
from wssupervisor.lock_file import Held, LockFile
from wssupervisor.runtime.fd_store import RestoredFds, slots_name
from wssupervisor.runtime.handover.found_workers import FoundWorkers
from wssupervisor.runtime.handover.state_file import Unusable
from wssupervisor.runtime.kernel.pidfd import share
from wssupervisor.runtime.kernel.procfs import socket_descriptor
from wssupervisor.runtime.listeners.listener_set import ListenerSetState, ListenerState
from wssupervisor.runtime.listeners.pool import PoolState
from wssupervisor.runtime.listeners.tcp_pool import bind_one_more
from wssupervisor.runtime.systemd import Passed


class NothingLeft(Exception):
    """systemd held no sockets, and no worker lives."""


class FoundSlots:
    def __init__(
        self, saved: ListenerSetState, state: State, config: Config, workers: FoundWorkers
    ) -> None:
        self._saved = saved
        self._state = state
        self._config = config
        self._workers = workers
        self.borrowed = False
        """Slots were duplicated from workers: the steering was not in force all the time."""
        self.exchanged: dict[SlotId, SlotId] = {}
        """Lost slots, which no process held, with the slots bound in their place."""

    def find(self, passed: Sequence[Passed], stored: RestoredFds) -> ListenerSetState:
        """The listeners with their slots.

        Raises Unusable, NothingLeft; ListenFailed if living workers cannot be adopted.
        """
        sockets = self._sockets(passed, stored)
        listeners = tuple(self._listener(one, sockets) for one in self._saved.listeners)
        return replace(self._saved, listeners=listeners)

    def _sockets(self, passed: Sequence[Passed], stored: RestoredFds) -> dict[SlotId, int]:
        """Descriptors of listening sockets by inode. Raises Unusable."""
        descriptors = [one.descriptor for one in passed]
        for listener in self._saved.listeners:
            descriptors += stored.take_all(slots_name(listener.pool.name))
        found = {os.fstat(descriptor).st_ino: descriptor for descriptor in descriptors}
        foreign = found.keys() - self._state.slots.keys()
        if foreign:
            for descriptor in found.values():
                if descriptor not in {one.descriptor for one in passed}:
                    os.close(descriptor)
            raise Unusable("the socket unit passed other sockets than before")
        return found

    def _listener(self, state: ListenerState, sockets: dict[SlotId, int]) -> ListenerState:
        wanted = self._state.listeners[state.pool.name].slots
        missing = [slot for slot in wanted if slot not in sockets]
        if missing:
            self._borrow(state.pool, missing, sockets)
        lock = None
        if state.pool.lock is not None:
            try:
                lock = LockFile.claim(state.pool.path or "").fileno()
            except (Held, OSError) as error:
                raise Unusable(f"{state.pool.path} is locked: {error}") from error
        descriptors = tuple(sockets[self._now(slot)] for slot in wanted)
        steering = state.steering and replace(
            state.steering,
            order=tuple(map(self._now, state.steering.order)),
            weights={self._now(slot): weight for slot, weight in state.steering.weights.items()},
            probes=(),
        )
        pool = replace(state.pool, descriptors=descriptors, lock=lock)
        return replace(state, pool=pool, steering=steering)

    def _now(self, slot: SlotId) -> SlotId:
        """The slot itself, or its replacement if it was lost."""
        return self.exchanged.get(slot, slot)

    def _borrow(
        self, pool: PoolState, missing: Sequence[SlotId], sockets: dict[SlotId, int]
    ) -> None:
        """Duplicate missing slots from living workers, and bind replacements for lost ones.

        Raises Unusable, NothingLeft, ListenFailed.
        """
        if not self._workers.running:
            raise NothingLeft
        if pool.source != "self":
            raise Unusable(f"systemd did not pass {len(missing)} sockets of listener {pool.name!r}")
        self.borrowed = True
        for worker in self._state.workers():
            for slot in set(worker.slots.values()) & set(missing) - sockets.keys():
                for pid in self._workers.members_of.get(worker.id, {}):
                    number = socket_descriptor(pid, slot)
                    if number is not None:
                        sockets[slot] = self._share(pid, number)
                        break
        lost = [slot for slot in missing if slot not in sockets]
        like = next((sockets[slot] for slot in missing if slot in sockets), None)
        for slot in lost:
            made = self._bind(pool, like)
            inode = os.fstat(made).st_ino
            sockets[inode] = made
            self.exchanged[slot] = inode

    def _share(self, pid: int, number: int) -> int:
        """Duplicate a worker's descriptor. Raises ListenFailed."""
        try:
            return share(pid, number)
        except OSError as error:
            raise self._cannot_adopt(error.strerror or str(error)) from error

    def _cannot_adopt(self, why: str) -> ListenFailed:
        shown = " ".join(map(str, self._workers.living()))
        return ListenFailed(
            f"workers of a supervisor that died still serve (pids {shown}), and their sockets"
            f" cannot be taken over: {why}. End them, with their connections: kill {shown}"
        )

    def _bind(self, pool: PoolState, like: int | None) -> int:
        """Bind a socket of the listener, with the address of `like` if given. Raises Unusable."""
        listen = next(listen for listen in self._config.listeners if listen.name == pool.name)
        address = listen.address
        if like is not None:
            with socket.socket(fileno=os.dup(like)) as sock:
                family, (host, port) = sock.family, sock.getsockname()[:2]
        elif isinstance(address, Address):
            family, host, port = address.family, address.host, address.port
        else:
            raise Unusable(f"the socket of listener {pool.name!r} is gone")
        try:
            return bind_one_more(family, host, port, listen.backlog).detach()
        except OSError as error:
            raise Unusable(f"listener {pool.name!r} cannot be bound: {error}") from error
