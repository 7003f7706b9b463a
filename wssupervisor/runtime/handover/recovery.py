"""Finding what a supervisor that died left behind, so that this one can go on in its place.

From three sources: what it saved, what systemd held for it (sockets, and per worker a pidfd, its
output, its notify socket, its channel), and /proc. Where nothing was held, living workers share
their sockets (`pidfd_getfd`). The result is the document that a re-execution would hand on, and
`document.restore` reads it in the same way.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from wssupervisor import __version__
from wssupervisor.config.model import Address, Config
from wssupervisor.errors import ConfigInvalid, ListenFailed, OperationFailed
from wssupervisor.fleet.events import Recovered
from wssupervisor.fleet.model import Exit, SlotId, WorkerId
from wssupervisor.fleet.orders import Order
from wssupervisor.fleet.resuming import can_recover
from wssupervisor.fleet.state import State, Worker
from wssupervisor.lock_file import Held, LockFile
from wssupervisor.runtime.fd_store import CONTROL, RestoredFds, slots_name, worker_name
from wssupervisor.runtime.handover import orphans
from wssupervisor.runtime.handover.document import HandoverDocument
from wssupervisor.runtime.handover.state_file import SavedState, StateFile, Unusable
from wssupervisor.runtime.kernel.pidfd import exit_of, share
from wssupervisor.runtime.kernel.procfs import (
    descriptors_named,
    environment,
    is_alive,
    socket_descriptor,
)
from wssupervisor.runtime.listeners.listener_set import ListenerState
from wssupervisor.runtime.listeners.pool import PoolState
from wssupervisor.runtime.listeners.tcp_pool import bind_one_more
from wssupervisor.runtime.systemd import Passed
from wssupervisor.runtime.workers.channel import ChannelState
from wssupervisor.runtime.workers.handle import WorkerHandleState
from wssupervisor.runtime.workers.kin import Marks, identity_in
from wssupervisor.runtime.workers.notify_socket import NotifySocketState, bound_again
from wssupervisor.runtime.workers.output import OutputState
from wssupervisor.runtime.workers.process import ProcessState
from wssupervisor.runtime.workers.relay import living

log = structlog.get_logger()

Load = Callable[[str | None], Config]
"""The configuration, from what its file said; raises ConfigInvalid."""


@dataclass(frozen=True, slots=True)
class Found:
    """`exchanged`: slots that nobody held any more, and those that were bound in their place.

    `steered`: the steering was in force all the time; otherwise indexes have moved.
    """

    config: Config
    document: HandoverDocument
    at: float
    running: Mapping[WorkerId, int]
    gone: Mapping[WorkerId, Exit]
    orders: tuple[Order, ...]
    control: int | None
    steered: bool
    exchanged: Mapping[SlotId, SlotId]

    def event(self) -> Recovered:
        """What the fleet has to know of it."""
        before = self.document.program
        return Recovered(__version__, before, self.running, self.gone, self.orders, self.exchanged)


def names_needed(found: Found) -> set[str]:
    """What must stay in systemd's store."""
    return {
        CONTROL,
        *(slots_name(one.pool.name) for one in found.document.listeners.listeners),
        *(worker_name(worker) for worker in found.running),
    }


def find(
    file: StateFile,
    name: str,
    passed: Sequence[Passed],
    stored: RestoredFds,
    notify_at: str,
    load: Load,
) -> Found | None:
    """What the last supervisor of this instance left, if it died and somebody may be connected.

    None: nothing, or nothing to be trusted, which is then said. Raises ListenFailed where living
    workers cannot be taken over.
    """
    try:
        saved = file.read(name)
        if saved is None:
            return None
        state = saved.document.load_fleet().state
        if not can_recover(state):
            log.info("the last supervisor died before it served, or in its stop: starting anew")
            return None
        config = load(saved.document.config_text)
        return _Search(saved, state, config, notify_at).run(passed, stored)
    except _NothingLeft:
        log.info("the last supervisor died, and nothing of it is left: starting anew")
        return None
    except (Unusable, OperationFailed, ConfigInvalid) as error:
        place = file.set_aside()
        log.warning("state of the last supervisor is set aside", why=str(error), files=place)
        return None


class _NothingLeft(Exception):
    """No socket was held, and no worker lives."""


class _Search:
    def __init__(self, saved: SavedState, state: State, config: Config, notify_at: str) -> None:
        self._saved = saved
        self._state = state
        self._config = config
        self._notify_at = notify_at
        self._known = {one.id: one for one in saved.document.supervisor.crew.workers}
        self._carriers = orphans.carriers(config.name, orphans.supervisors_of(saved))
        self._relays = living(config.name, saved.document.supervisor.crew.relay)
        self._running: dict[WorkerId, int] = {}
        self._gone: dict[WorkerId, Exit] = {}
        self._members_of: dict[WorkerId, dict[int, int]] = {}
        self._borrowed = False
        self._exchanged: dict[SlotId, SlotId] = {}

    def run(self, passed: Sequence[Passed], stored: RestoredFds) -> Found | None:
        workers = []
        for one in self._state.workers():
            found = self._worker(one, stored)
            if found is not None:
                workers.append(found)
        try:
            sockets = self._sockets(passed, stored)
            before = self._saved.document.listeners
            listeners = [self._listener(one, sockets) for one in before.listeners]
        except BaseException:
            for worker in workers:
                for descriptor in worker.descriptors():
                    os.close(descriptor)
            raise
        orphans.end_strangers(self._carriers, [one.id for one in self._state.workers()])
        members = {pid for seen in self._members_of.values() for pid in seen}
        slots = frozenset(self._state.slots)
        orphans.end_holders(slots, {one.id: _marks(one) for one in workers}, members)
        supervisor = self._saved.document.supervisor
        document = replace(
            self._saved.document,
            listeners=replace(before, listeners=tuple(listeners)),
            supervisor=replace(supervisor, crew=replace(supervisor.crew, workers=tuple(workers))),
        )
        return Found(
            self._config,
            document,
            self._saved.at,
            self._running,
            self._gone,
            self._saved.orders,
            stored.take(CONTROL, "SOCK_STREAM"),
            steered=not self._borrowed,
            exchanged=self._exchanged,
        )

    # -- workers ------------------------------------------------------------------------------

    def _worker(self, one: Worker, stored: RestoredFds) -> WorkerHandleState | None:
        name, known = worker_name(one.id), self._known.get(one.id)
        pidfd = stored.take(name, "pidfd")
        seen = self._members(one.id)
        main = one.pid or (known and known.process.pid) or orphans.root(seen)
        if not seen or not main:
            self._gone[one.id] = _how(pidfd, main, known)
            if pidfd is not None:
                os.close(pidfd)
            return None
        self._running[one.id] = main
        self._members_of[one.id] = seen
        process = ProcessState(
            main,
            os.pidfd_open(main if main in seen else min(seen)) if pidfd is None else pidfd,
            identity_in(environment(min(seen))) if known is None else known.process.identity,
            None if main in seen else _how(pidfd, main, known),
            dict(seen),
            None if known is None else known.process.acceptor,
        )
        channel = stored.take(name, "SOCK_SEQPACKET")
        return WorkerHandleState(
            one.id,
            process,
            _output(stored, self._relays, seen, one.id, known),
            self._notify(stored.take(name, "SOCK_DGRAM"), one.id, min(seen)),
            ChannelState(
                _closed_socket() if channel is None else channel,
                channel is None or (known is not None and known.channel.closed),
            ),
            one.watchdog,
            dict(one.slots),
            None if known is None else known.status,
            None if known is None else known.library,
        )

    def _members(self, worker: WorkerId) -> dict[int, int]:
        """Living processes of its tree, with their start times."""
        found = dict(self._carriers.get(orphans.key(worker), {}))
        known = self._known.get(worker)
        if known is not None:
            found |= {
                pid: started
                for pid, started in known.process.seen.items()
                if started is not None and is_alive(pid, started)
            }
        return found

    def _notify(self, descriptor: int | None, worker: WorkerId, pid: int) -> NotifySocketState:
        known = self._known.get(worker)
        address = environment(pid).get("NOTIFY_SOCKET", f"{self._notify_at}.{worker}")
        if known is not None:
            address = known.notify.address
        path = None if address.startswith("@") else address
        if descriptor is None:
            descriptor = bound_again(address)
        return NotifySocketState(descriptor, address, path)

    # -- listeners ----------------------------------------------------------------------------

    def _sockets(self, passed: Sequence[Passed], stored: RestoredFds) -> dict[SlotId, int]:
        """Descriptors of listening sockets by inode. Raises Unusable."""
        descriptors = [one.descriptor for one in passed]
        for one in self._saved.document.listeners.listeners:
            descriptors += stored.take_all(slots_name(one.pool.name))
        found = {os.fstat(descriptor).st_ino: descriptor for descriptor in descriptors}
        foreign = found.keys() - self._state.slots.keys()
        if foreign:
            for descriptor in found.values():
                if descriptor not in {one.descriptor for one in passed}:
                    os.close(descriptor)
            raise Unusable("the socket unit has other sockets than before")
        return found

    def _listener(self, one: ListenerState, sockets: dict[SlotId, int]) -> ListenerState:
        wanted = self._state.listeners[one.pool.name].slots
        missing = [slot for slot in wanted if slot not in sockets]
        if missing:
            self._borrow(one.pool, missing, sockets)
        lock = None
        if one.pool.lock is not None:
            try:
                lock = LockFile.claim(one.pool.path or "").fileno()
            except (Held, OSError) as error:
                raise Unusable(f"{one.pool.path} is locked: {error}") from error
        descriptors = tuple(sockets[self._now(slot)] for slot in wanted)
        steering = one.steering and replace(
            one.steering,
            order=tuple(map(self._now, one.steering.order)),
            weights={self._now(slot): weight for slot, weight in one.steering.weights.items()},
            probes=(),
        )
        pool = replace(one.pool, descriptors=descriptors, lock=lock)
        return replace(one, pool=pool, steering=steering)

    def _now(self, slot: SlotId) -> SlotId:
        """The slot in its place, if it was lost."""
        return self._exchanged.get(slot, slot)

    def _borrow(
        self, one: PoolState, missing: Sequence[SlotId], sockets: dict[SlotId, int]
    ) -> None:
        """Have living workers share the slots that nobody held for us, and bind what is lost.

        Raises Unusable, _NothingLeft, ListenFailed.
        """
        if not self._running:
            raise _NothingLeft
        if one.source != "self":
            raise Unusable(f"systemd did not pass {len(missing)} sockets of listener {one.name!r}")
        self._borrowed = True
        for worker in self._state.workers():
            for slot in set(worker.slots.values()) & set(missing) - sockets.keys():
                for pid in self._members_of.get(worker.id, {}):
                    number = socket_descriptor(pid, slot)
                    if number is not None:
                        sockets[slot] = self._share(pid, number)
                        break
        lost = [slot for slot in missing if slot not in sockets]
        like = next((sockets[slot] for slot in missing if slot in sockets), None)
        for slot in lost:
            made = self._bind(one, like)
            inode = os.fstat(made).st_ino
            sockets[inode] = made
            self._exchanged[slot] = inode

    def _share(self, pid: int, number: int) -> int:
        """A worker's descriptor as one of ours. Raises ListenFailed."""
        try:
            return share(pid, number)
        except OSError as error:
            raise self._cannot_adopt(error.strerror or str(error)) from error

    def _cannot_adopt(self, why: str) -> ListenFailed:
        living = sorted(pid for members in self._members_of.values() for pid in members)
        shown = " ".join(map(str, living))
        return ListenFailed(
            f"workers of a supervisor that died still serve (pids {shown}), and their sockets"
            f" cannot be taken over: {why}. End them, with their connections: kill {shown}"
        )

    def _bind(self, one: PoolState, like: int | None) -> int:
        """Raises ListenFailed."""
        listen = next(listen for listen in self._config.listeners if listen.name == one.name)
        address = listen.address
        if like is not None:
            with socket.socket(fileno=os.dup(like)) as sock:
                family, (host, port) = sock.family, sock.getsockname()[:2]
        elif isinstance(address, Address):
            family, host, port = address.family, address.host, address.port
        else:
            raise Unusable(f"the socket of listener {one.name!r} is gone")
        try:
            return bind_one_more(family, host, port, listen.backlog).detach()
        except OSError as error:
            raise Unusable(f"listener {one.name!r} cannot be bound: {error}") from error


def slots_before(file: StateFile, name: str) -> frozenset[SlotId]:
    """What were the slots of a supervisor that died, as far as it was written down."""
    try:
        found = file.read(name)
        return frozenset() if found is None else frozenset(found.document.load_fleet().state.slots)
    except (Unusable, OperationFailed):
        return frozenset()


def _marks(worker: WorkerHandleState) -> Marks:
    inode, slots = os.fstat(worker.output.pipe).st_ino, frozenset(worker.slots.values())
    return Marks(worker.process.pid, worker.process.identity, inode, slots)


def _how(pidfd: int | None, pid: int | None, known: WorkerHandleState | None) -> Exit:
    """How the main process ended, as far as anybody knows."""
    told = None if pidfd is None or pid is None else exit_of(pidfd, pid)
    if told is None and known is not None:
        told = known.process.exit
    return told or Exit()


def _closed_socket() -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    return ours.detach()


def _closed_pipe() -> int:
    ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.close(theirs)
    return ours


def _output(
    stored: RestoredFds,
    relays: Iterable[int],
    members: Iterable[int],
    worker: WorkerId,
    known: WorkerHandleState | None,
) -> OutputState:
    """From where it was read to; what was given back since then is not there any more."""
    name = f"wssupervisor-{worker}"
    descriptor, pipe = (stored.take(worker_name(worker), kind) for kind in ("memfd", "pipe:"))
    if pipe is None and known is not None and known.output.inode:
        pipe = _opened(members, f"pipe:[{known.output.inode}]", os.O_RDONLY | os.O_NONBLOCK)
    if descriptor is None:
        descriptor = _opened(relays, f"/memfd:{name} (deleted)", os.O_RDWR)
    if pipe is None:
        pipe = _closed_pipe()
    if descriptor is None:
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    read_to = 0 if known is None else known.output.read_to
    partial = "" if known is None else known.output.partial
    try:
        at = os.lseek(descriptor, read_to, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        at = os.fstat(descriptor).st_size
    partial = partial if at == read_to else ""
    return OutputState(descriptor, at, at, partial, (), pipe, os.fstat(pipe).st_ino)


def _opened(pids: Iterable[int], link: str, flags: int) -> int | None:
    """What one of these processes has open under that name, opened anew."""
    for pid in pids:
        for path in descriptors_named(pid, link):
            with suppress(OSError):
                return os.open(path, flags | os.O_CLOEXEC)
    return None
