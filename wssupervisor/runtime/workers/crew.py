"""The living workers: their processes, what they write and what they say."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import assert_never

import structlog

from wssupervisor.fleet.actions import Spawn
from wssupervisor.fleet.events import (
    Event,
    LibraryConnected,
    LibraryDisconnected,
    MainProcessEnded,
    SlotReleased,
    WorkerAlive,
    WorkerCounted,
    WorkerExited,
    WorkerReady,
)
from wssupervisor.fleet.model import Exit, SlotId, WorkerId
from wssupervisor.runtime.fd_store import FdStore, worker_name
from wssupervisor.runtime.kernel.descent import reap_orphans
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR, need_room
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.releases.release import with_descriptors
from wssupervisor.runtime.workers import leftover
from wssupervisor.runtime.workers.bound_itself import taken_by_us
from wssupervisor.runtime.workers.channel import MESSAGES_PER_LOOK, Channel, ChannelState
from wssupervisor.runtime.workers.kin import Marks
from wssupervisor.runtime.workers.notify_socket import (
    Malformed,
    NotifySocket,
    NotifySocketState,
    printable,
)
from wssupervisor.runtime.workers.output import Output, OutputState, Words
from wssupervisor.runtime.workers.output_reader import OutputReader, OutputReaderState
from wssupervisor.runtime.workers.process import Process, ProcessState, supervisor_id
from wssupervisor.runtime.workers.relay import Relay, RelayState
from wssupervisor.runtime.workers.repeated import Repeated, Report
from wssupervisor.runtime.workers.strays import Strays
from wssupervisor.worker.protocol import (
    VERSION,
    Alive,
    Bad,
    Capability,
    Counts,
    FromSupervisor,
    FromWorker,
    Hello,
    Ready,
    Welcome,
)

log = structlog.get_logger()

SIGNS_A_WATCHDOG = 3
"""Signs of life that a worker is asked for in the time within which it must give one."""
STATUS_AGAIN = 0.02
"""Seconds between two questions how a process ended that is no child of ours."""
NOT_EXECUTED = (126, 127)
"""Exit statuses of a shell that could not run what it was to; its last line says why."""
LAST_WORD_CHARS = 300
LIBRARY_CHARS = 100
LAST_WORDS_AGAIN = 0.002
"""Seconds between two looks whether an ended worker's last words are here."""


@dataclass(frozen=True, slots=True)
class WorkerHandleState:
    id: WorkerId
    process: ProcessState
    output: OutputState
    notify: NotifySocketState
    channel: ChannelState
    watchdog: float
    slots: dict[str, int]
    status: str | None
    library: str | None

    def descriptors(self) -> tuple[int, ...]:
        own = self.process.pidfd, self.notify.descriptor, self.channel.descriptor
        return (*own, *self.output.descriptors())


@dataclass(frozen=True, slots=True)
class CrewState:
    workers: tuple[WorkerHandleState, ...]
    outputs: OutputReaderState
    relay: RelayState


@dataclass(slots=True)
class WorkerHandle:
    """One worker's process and the things that belong to it; owns them all."""

    process: Process
    output: Output
    notify: NotifySocket
    channel: Channel
    watchdog: float
    slots: Mapping[str, SlotId]
    marks: Marks
    status: str | None = None
    library: str | None = None
    """How it called itself when it joined; None for a worker without the library."""
    killed: bool = False
    leftover: bool = False
    """The end of its main process was posted."""
    flooding: bool = False
    """It said so much that we hear the rest at our next look."""
    unheard: bool = False
    """The same of its notify socket."""

    repeated: Repeated = field(default_factory=Repeated)

    def save(self, worker: WorkerId) -> WorkerHandleState:
        return WorkerHandleState(
            worker,
            self.process.save(),
            self.output.save(),
            self.notify.save(),
            self.channel.save(),
            self.watchdog,
            dict(self.slots),
            self.status,
            self.library,
        )

    @classmethod
    def restore(cls, state: WorkerHandleState) -> "WorkerHandle":
        process, output = Process.restore(state.process), Output.restore(state.output)
        return cls(
            process,
            output,
            NotifySocket.restore(state.notify),
            Channel.restore(state.channel),
            state.watchdog,
            state.slots,
            _marks(process, output, state.slots),
            state.status,
            state.library,
        )

    def close(self) -> None:
        """All but the output, which is read to its end. Never raises."""
        for close in (self.channel.close, self.process.close, self.notify.close):
            with suppress(OSError):
                close()


class Crew:
    """Spawns, watches and signals workers; what it sees goes out as events."""

    def __init__(
        self,
        instance: str,
        notify_at: str | None,
        gate: ListenerSet,
        post: Callable[[Event], None],
        tell: Callable[[WorkerId, int, Words], None],
        takes: Callable[[], bool],
        warn: Callable[[WorkerId, str], None],
        store: FdStore,
        kill_after: Callable[[], float],
        relay_started: Callable[[], None],
        saved: CrewState | None = None,
    ) -> None:
        """`notify_at`: how the paths of the workers' notify sockets begin; None: have none.

        `takes`: whether `tell` has room for more of what workers wrote. `kill_after`: seconds from
        SIGTERM to SIGKILL, of the policy in force. `relay_started`: see Relay. `saved`: by the
        previous program.
        """
        self._store = store
        self._instance = instance
        self._notify_at = notify_at
        self._gate = gate
        self._post = post
        self.relay = Relay(instance, relay_started, None if saved is None else saved.relay)
        outputs = OutputReaderState() if saved is None else saved.outputs
        self.outputs = OutputReader(self.relay, tell, takes, outputs)
        self._warn = warn
        self._hands: dict[WorkerId, WorkerHandle] = {}
        self.strays = Strays(gate.slot_inodes(), self.relay.is_relay)
        self._kill_after = kill_after
        self._supervisor = supervisor_id()
        if saved is not None:
            for one in saved.workers:
                handle = WorkerHandle.restore(one)
                self._store_again(one.id, handle)
                self._listen_to(one.id, handle)
            self.relay.succeed()

    def save(self, *, lean: bool) -> CrewState:
        """`lean`: without what ended workers wrote, and their last words."""
        outputs = OutputReaderState() if lean else self.outputs.save()
        workers = tuple(handle.save(worker) for worker, handle in self._hands.items())
        return CrewState(workers, outputs, self.relay.save())

    # -- what the fleet asks for --------------------------------------------------------------

    def spawn(self, spawn: Spawn) -> int:
        """Start it and watch it; returns its pid. Raises OSError: then nothing is left of it."""
        worker, release = spawn.worker, spawn.release
        need_room()
        with ExitStack() as stack:
            output, ends = Output.create(f"wssupervisor-{worker}")
            stack.callback(ends.close)
            stack.callback(output.close)
            notify = self._notify_socket(worker)
            stack.callback(notify.close)
            channel = Channel.create()
            stack.callback(channel.close)
            names = list(self._gate.pools)
            self._gate.hand_out(spawn.slots, worker)
            # Before it lives: we may die in the next moment.
            stored = worker_name(worker)
            self._store.put(stored, [*output.descriptors(), notify.fileno(), channel.fileno()])
            stack.callback(self._store.drop, [stored])
            process = Process.spawn(
                with_descriptors(release.command, names),
                release.directory,
                self._variables(spawn, names, notify.address),
                [*self._gate.descriptors(spawn.slots), channel.theirs, ends.spare],
                ends.output,
                ends.errors,
            )
            stack.callback(process.close)
            stack.callback(process.kill)
            marks = _marks(process, output, spawn.slots)
            slots = dict(spawn.slots)
            hand = WorkerHandle(process, output, notify, channel, spawn.watchdog, slots, marks)
            stack.callback(self._forget, worker, hand)
            self._listen_to(worker, hand)
            stack.pop_all()
        ends.close()
        self._store.put(stored, [process.pidfd])
        with suppress(OSError):
            channel.passed_on()
        return process.pid

    def _forget(self, worker: WorkerId, hand: WorkerHandle) -> None:
        """One that was started, and could not be watched."""
        self._hands.pop(worker, None)
        self.outputs.forget(worker)
        loop = asyncio.get_running_loop()
        for descriptor in (hand.process.pidfd, hand.notify.fileno(), hand.channel.fileno()):
            with suppress(OSError):
                loop.remove_reader(descriptor)

    def _notify_socket(self, worker: WorkerId) -> NotifySocket:
        """At its path; where that cannot be had, by a name in the kernel. Raises OSError."""
        at = self._notify_at
        path = None if at is None else f"{at}.{worker}"
        try:
            return NotifySocket.create(path)
        except OSError as error:
            if path is None:
                raise
            self._warn(
                worker,
                f"{path} cannot be made ({error.strerror}): NOTIFY_SOCKET is an abstract address,"
                " which not every server knows",
            )
            return NotifySocket.create(None)

    def mend(self) -> bool:
        """Make swept notify sockets again; True if there were any. Raises OSError."""
        lost = [one for one in self._hands.items() if one[1].notify.is_lost()]
        for worker, hand in lost:
            again = hand.notify.made_again()
            self._notified(worker)
            asyncio.get_running_loop().remove_reader(hand.notify.fileno())
            hand.notify.abandon()
            hand.notify = again
            asyncio.get_running_loop().add_reader(again.fileno(), self._notified, worker)
            self._store.drop([worker_name(worker)])
            self._store_again(worker, hand)
        return bool(lost)

    def _store_again(self, worker: WorkerId, hand: WorkerHandle) -> None:
        own = [*hand.output.descriptors(), hand.notify.fileno(), hand.process.pidfd]
        if not hand.channel.closed:
            own.append(hand.channel.fileno())
        self._store.put(worker_name(worker), own)

    def _listen_to(self, worker: WorkerId, hand: WorkerHandle) -> None:
        self._hands[worker] = hand
        self.outputs.add(worker, hand.process.pid, hand.output)
        loop = asyncio.get_running_loop()
        if hand.process.exit is None:
            loop.add_reader(hand.process.pidfd, self._main_ended, worker)
        loop.add_reader(hand.notify.fileno(), self._notified, worker)
        if not hand.channel.closed:
            loop.add_reader(hand.channel.fileno(), self._heard, worker)

    def finish(self) -> None:
        """All workers have ended: pass on what they wrote last."""
        self.outputs.finish()
        self.relay.end()

    def parted(self) -> list[WorkerId]:
        """Workers with which nobody can talk."""
        return [worker for worker, hand in self._hands.items() if hand.channel.closed]

    def _variables(self, spawn: Spawn, names: list[str], notify: str) -> dict[str, str]:
        worker, release = spawn.worker, spawn.release
        watchdog = {"WATCHDOG_USEC": str(int(spawn.watchdog * 1e6))} if spawn.watchdog else {}
        return {
            **dict(release.environment),
            **watchdog,
            "LISTEN_FDS": str(len(names)),
            "LISTEN_FDNAMES": ":".join(names),
            "NOTIFY_SOCKET": notify,
            "WSSUPERVISOR_INSTANCE": self._instance,
            "WSSUPERVISOR_GENERATION": str(worker.generation),
            "WSSUPERVISOR_WORKER": str(worker.index),
            "WSSUPERVISOR_INCARNATION": str(worker.incarnation),
            "WSSUPERVISOR_RELEASE": release.directory,
            "WSSUPERVISOR_CHANNEL": str(FIRST_DESCRIPTOR + len(names)),
            "WSSUPERVISOR_SUPERVISOR": self._supervisor,
        }

    def signal(self, worker: WorkerId, name: str, *, rest: bool = False) -> None:
        if hand := self._hands.get(worker):
            self._about_to_end(worker, hand)
            send = hand.process.signal_rest if rest else hand.process.signal
            send(signal.Signals[name])

    def free_clients(self, worker: WorkerId) -> None:
        """No process serves what is left of it: let its clients connect again. Raises OSError."""
        if hand := self._hands.get(worker):
            leftover.free_clients(self._gate, hand.process)

    def say(self, worker: WorkerId, message: FromSupervisor) -> None:
        """To a worker that uses the library; one that cannot be told is treated as one without."""
        hand = self._hands.get(worker)
        if hand is not None and not hand.channel.closed and not hand.channel.send(message):
            self._part(worker, hand, "it does not read what it is told")

    def shared_listeners(self) -> tuple[str, ...]:
        return tuple(name for name, pool in self._gate.pools.items() if pool.why_shared is not None)

    def kill(self, worker: WorkerId) -> None:
        if hand := self._hands.get(worker):
            hand.killed = True
            self._about_to_end(worker, hand)
            hand.process.kill()

    def _about_to_end(self, worker: WorkerId, hand: WorkerHandle) -> None:
        self._gate.held_probes.end(hand.process)
        if not hand.process.may_signal():
            log.error(
                "worker cannot be signalled",
                worker=str(worker),
                pid=hand.process.pid,
                advice=(
                    "it has become another user: end it yourself, and let the supervisor run as"
                    " root, with CAP_KILL in CapabilityBoundingSet="
                ),
            )

    # -- what is seen -------------------------------------------------------------------------

    def process(self, worker: WorkerId) -> Process | None:
        hand = self._hands.get(worker)
        return None if hand is None else hand.process

    def processes(self) -> dict[WorkerId, Process]:
        return {worker: hand.process for worker, hand in self._hands.items()}

    def shared_slots(self) -> set[SlotId]:
        """Those that several living workers were given."""
        given = Counter(slot for hand in self._hands.values() for slot in hand.slots.values())
        return {slot for slot, count in given.items() if count > 1}

    def seems_to_listen(self, worker: WorkerId) -> bool:
        """As far as can be seen at once; where not, a census tells."""
        hand = self._hands.get(worker)
        if hand is None:
            return True
        return hand.process.has_placed([hand.slots[name] for name in self._gate.pools])

    def status(self, worker: WorkerId) -> str | None:
        """Its last STATUS=."""
        hand = self._hands.get(worker)
        return None if hand is None else hand.status

    def look(self) -> None:
        """Pass their output on, and see who let its slot go or has gone with all its tree."""
        self.relay.look()
        self.outputs.look()
        self.strays.look(self._hands, self._kill_after())
        for worker, hand in list(self._hands.items()):
            for event in hand.repeated.waiting():
                self._post(event)
            if hand.unheard:
                hand.unheard = False
                asyncio.get_running_loop().add_reader(hand.notify.fileno(), self._notified, worker)
            if hand.flooding:
                hand.flooding = False
                asyncio.get_running_loop().add_reader(hand.channel.fileno(), self._heard, worker)
            if hand.process.exit is not None:
                self._look_after(worker, hand)

    def look_for_holders(self) -> Callable[[], Callable[[], None]] | None:
        """What looks, in a thread, for other processes with our sockets, if it is time to.

        It returns what takes in the result, in the loop.
        """
        if not self.strays.scan_is_due():
            return None
        known = frozenset[int]().union(*(hand.process.seen() for hand in self._hands.values()))

        def look() -> Callable[[], None]:
            found = self.strays.scan(known)
            return lambda: self.strays.scanned(found, self._hands)

        return look

    def reap_orphans(self) -> None:
        """Reap what workers left behind and we inherited."""
        reap_orphans(frozenset(hand.process.pid for hand in self._hands.values()))

    def _look_again(self, worker: WorkerId) -> None:
        if hand := self._hands.get(worker):
            self._look_after(worker, hand)

    def _main_ended(self, worker: WorkerId) -> None:
        hand = self._hands.get(worker)
        if hand is None or hand.process.exit is not None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(hand.process.pidfd)
        if hand.process.reap() is None:  # one that is not our child: how it ended is told later
            loop.call_later(STATUS_AGAIN, self._main_ended, worker)
            return
        self._look_after(worker, hand)

    def _look_after(self, worker: WorkerId, hand: WorkerHandle) -> None:
        """Its main process has ended: it is gone when all of its tree are."""
        self.strays.look(self._hands, self._kill_after())
        members = hand.process.members()
        if not (members and hand.leftover) and not self.outputs.is_complete(worker):
            asyncio.get_running_loop().call_later(LAST_WORDS_AGAIN, self._look_again, worker)
            return
        if not members:
            self._finish_exit(worker, hand)
            return
        if hand.killed:  # one of them may have forked in that moment
            hand.process.kill()
        if not hand.leftover:
            hand.leftover = True
            ended = hand.process.exit
            assert ended is not None
            self._notified(worker)
            advice = self._advice(ended, self.outputs.last_lines(worker))
            self._post(MainProcessEnded(worker, ended, advice))

    def _advice(self, ended: Exit, last_words: Sequence[str]) -> str | None:
        """What its last words say of the end, where that can be told from them."""
        addresses = [pool.address for pool in self._gate.pools.values()]
        if ended.status in NOT_EXECUTED and last_words:
            return printable(last_words[-1][:LAST_WORD_CHARS])
        return taken_by_us(last_words, addresses)

    def _finish_exit(self, worker: WorkerId, hand: WorkerHandle) -> None:
        """No process of its tree is left. What raises before it is forgotten is done again."""
        self._notified(worker)
        last_words = self.outputs.ended(worker)
        self._gate.held_probes.end(hand.process)
        ended = hand.process.exit
        assert ended is not None
        advice = self._advice(ended, last_words)
        self._gate.inspect(frozenset(hand.slots.values()))
        self._store.drop([worker_name(worker)])
        loop = asyncio.get_running_loop()
        for reader in (hand.notify.fileno(), hand.channel.fileno()):
            with suppress(OSError):
                loop.remove_reader(reader)
        del self._hands[worker]
        hand.close()
        self._post(WorkerExited(worker, ended, advice))

    def _notified(self, worker: WorkerId) -> None:
        hand = self._hands[worker]
        members = cache(hand.process.members)
        messages = hand.notify.receive(lambda pid: pid in members())
        if hand.notify.is_deaf and not hand.unheard:
            hand.unheard = True
            asyncio.get_running_loop().remove_reader(hand.notify.fileno())
        for message in messages:
            if isinstance(message, Malformed):
                self._warn(worker, message.reason)
                continue
            if message.status is not None:
                hand.status = message.status
            if message.ready:
                self._report(hand, WorkerReady(worker))
            if message.watchdog:
                self._post(WorkerAlive(worker))
            if message.stopping:
                self._report(hand, SlotReleased(worker))

    def _report(self, hand: WorkerHandle, report: Report) -> None:
        if (now := hand.repeated.now(report)) is not None:
            self._post(now)

    def _heard(self, worker: WorkerId) -> None:
        """What a worker says that uses the library."""
        hand = self._hands[worker]
        messages = hand.channel.receive()
        bad = None
        for message in messages:
            if isinstance(message, Bad):
                bad = str(message)
            else:
                self._take_in(worker, hand, message)
        if hand.channel.closed:
            self._part(worker, hand, bad)
        elif len(messages) >= MESSAGES_PER_LOOK or hand.channel.is_deaf:
            hand.flooding = True
            asyncio.get_running_loop().remove_reader(hand.channel.fileno())

    def _take_in(self, worker: WorkerId, hand: WorkerHandle, message: FromWorker) -> None:
        match message:
            case Hello(capabilities=capabilities, library=library):
                hand.library = printable(library[:LIBRARY_CHARS])
                hand.channel.send(Welcome(VERSION, hand.watchdog / SIGNS_A_WATCHDOG))
                joined = LibraryConnected(
                    worker,
                    closes=Capability.CLOSE.value in capabilities,
                    releases_sockets=Capability.STOP_ACCEPTING.value in capabilities,
                )
                self._report(hand, joined)
            case Ready():
                self._report(hand, WorkerReady(worker))
            case Alive():
                self._post(WorkerAlive(worker))
            case Counts(open=count):
                self._post(WorkerCounted(worker, count))
            case _:
                assert_never(message)

    def _part(self, worker: WorkerId, hand: WorkerHandle, reason: str | None) -> None:
        """It closed its end, or broke the protocol: nothing more is heard from it."""
        asyncio.get_running_loop().remove_reader(hand.channel.fileno())
        hand.channel.closed = True
        hand.flooding = False
        hand.repeated.forget()
        if reason is not None:
            self._warn(worker, reason)
        self._post(LibraryDisconnected(worker))


def _marks(process: Process, output: Output, slots: Mapping[str, SlotId]) -> Marks:
    return process.marks(output.inode, frozenset(slots.values()))
