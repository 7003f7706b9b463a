"""The living workers: spawned, signalled, and looked after until no process of them is left."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import structlog

from wssupervisor.fleet.actions import Spawn
from wssupervisor.fleet.events import Event, MainProcessEnded, WorkerExited
from wssupervisor.fleet.model import Exit, SlotId, WorkerId
from wssupervisor.runtime.fd_store import FdStore, worker_name
from wssupervisor.runtime.kernel.descent import reap_orphans
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR, need_room
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.releases.release import with_descriptors
from wssupervisor.runtime.workers import leftover
from wssupervisor.runtime.workers.bound_itself import taken_by_us
from wssupervisor.runtime.workers.channel import Channel
from wssupervisor.runtime.workers.handle import WorkerHandle, WorkerHandleState, marks_of
from wssupervisor.runtime.workers.messages import Messages
from wssupervisor.runtime.workers.notify_socket import NotifySocket, printable
from wssupervisor.runtime.workers.output import Output, Words
from wssupervisor.runtime.workers.output_reader import OutputReader, OutputReaderState
from wssupervisor.runtime.workers.process import Process, supervisor_id
from wssupervisor.runtime.workers.relay import Relay, RelayState
from wssupervisor.runtime.workers.strays import Strays
from wssupervisor.worker.protocol import FromSupervisor

log = structlog.get_logger()

STATUS_RETRY_SECONDS = 0.02
"""Seconds between two questions how a process ended that is no child of ours."""
NOT_EXECUTED = (126, 127)
"""Exit statuses of a shell that could not run what it was to; its last line says why."""
LAST_WORD_CHARS = 300
LAST_WORDS_RETRY_SECONDS = 0.002
"""Seconds between two looks whether an ended worker's last words are here."""


@dataclass(frozen=True, slots=True)
class CrewState:
    workers: tuple[WorkerHandleState, ...]
    outputs: OutputReaderState
    relay: RelayState


class Crew:
    """Spawns, watches and signals workers; what it sees goes out as events."""

    def __init__(
        self,
        instance: str,
        notify_at: str | None,
        listeners: ListenerSet,
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
        self._listeners = listeners
        self._post = post
        self.relay = Relay(instance, relay_started, None if saved is None else saved.relay)
        outputs = OutputReaderState() if saved is None else saved.outputs
        self.outputs = OutputReader(self.relay, tell, takes, outputs)
        self._warn = warn
        self._messages = Messages(post, warn)
        self._handles: dict[WorkerId, WorkerHandle] = {}
        self.strays = Strays(listeners.slot_inodes(), self.relay.is_relay)
        self._kill_after = kill_after
        self._supervisor = supervisor_id()
        if saved is not None:
            for state in saved.workers:
                handle = WorkerHandle.restore(state)
                self._store_again(state.id, handle)
                self._listen_to(state.id, handle)
            self.relay.succeed()

    def save(self, *, lean: bool) -> CrewState:
        """`lean`: without what ended workers wrote, and their last words."""
        outputs = OutputReaderState() if lean else self.outputs.save()
        workers = tuple(handle.save(worker) for worker, handle in self._handles.items())
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
            names = list(self._listeners.pools)
            self._listeners.hand_out(spawn.slots, worker)
            # Before it lives: we may die in the next moment.
            stored = worker_name(worker)
            self._store.put(stored, [*output.descriptors(), notify.fileno(), channel.fileno()])
            stack.callback(self._store.drop, [stored])
            process = Process.spawn(
                with_descriptors(release.command, names),
                release.directory,
                self._variables(spawn, names, notify.address),
                [*self._listeners.descriptors(spawn.slots), channel.theirs, ends.spare],
                ends.output,
                ends.errors,
            )
            stack.callback(process.close)
            stack.callback(process.kill)
            own = marks_of(process, output, spawn.slots)
            slots = dict(spawn.slots)
            handle = WorkerHandle(process, output, notify, channel, spawn.watchdog, slots, own)
            stack.callback(self._forget, worker, handle)
            self._listen_to(worker, handle)
            stack.pop_all()
        ends.close()
        self._store.put(stored, [process.pidfd])
        with suppress(OSError):
            channel.passed_on()
        return process.pid

    def _forget(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """One that was started, and could not be watched."""
        self._handles.pop(worker, None)
        self.outputs.forget(worker)
        self._messages.end(handle)
        with suppress(OSError):
            asyncio.get_running_loop().remove_reader(handle.process.pidfd)

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
        lost = [one for one in self._handles.items() if one[1].notify.is_lost()]
        for worker, handle in lost:
            again = handle.notify.made_again()
            self._messages.read_notify(worker, handle)
            asyncio.get_running_loop().remove_reader(handle.notify.fileno())
            handle.notify.abandon()
            handle.notify = again
            self._messages.begin_notify(worker, handle)
            self._store.drop([worker_name(worker)])
            self._store_again(worker, handle)
        return bool(lost)

    def _store_again(self, worker: WorkerId, handle: WorkerHandle) -> None:
        own = [*handle.output.descriptors(), handle.notify.fileno(), handle.process.pidfd]
        if not handle.channel.closed:
            own.append(handle.channel.fileno())
        self._store.put(worker_name(worker), own)

    def _listen_to(self, worker: WorkerId, handle: WorkerHandle) -> None:
        self._handles[worker] = handle
        self.outputs.add(worker, handle.process.pid, handle.output)
        if handle.process.exit is None:
            loop = asyncio.get_running_loop()
            loop.add_reader(handle.process.pidfd, self._main_ended, worker)
        self._messages.begin(worker, handle)

    def finish(self) -> None:
        """All workers have ended: pass on what they wrote last."""
        self.outputs.finish()
        self.relay.end()

    def without_channel(self) -> list[WorkerId]:
        """Workers with which nobody can talk."""
        return [worker for worker, handle in self._handles.items() if handle.channel.closed]

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
        if handle := self._handles.get(worker):
            self._about_to_end(worker, handle)
            send = handle.process.signal_rest if rest else handle.process.signal
            send(signal.Signals[name])

    def free_clients(self, worker: WorkerId) -> None:
        """No process serves what is left of it: let its clients connect again. Raises OSError."""
        if handle := self._handles.get(worker):
            leftover.free_clients(self._listeners, handle.process)

    def say(self, worker: WorkerId, message: FromSupervisor) -> None:
        """To a worker that uses the library; a worker that cannot get it counts as one without."""
        if handle := self._handles.get(worker):
            self._messages.send(worker, handle, message)

    def shared_listeners(self) -> tuple[str, ...]:
        return tuple(
            name for name, pool in self._listeners.pools.items() if pool.why_shared is not None
        )

    def kill(self, worker: WorkerId) -> None:
        if handle := self._handles.get(worker):
            handle.killed = True
            self._about_to_end(worker, handle)
            handle.process.kill()

    def _about_to_end(self, worker: WorkerId, handle: WorkerHandle) -> None:
        self._listeners.held_probes.end(handle.process)
        if not handle.process.may_signal():
            log.error(
                "worker cannot be signalled",
                worker=str(worker),
                pid=handle.process.pid,
                advice=(
                    "it has become another user: end it yourself, and let the supervisor run as"
                    " root, with CAP_KILL in CapabilityBoundingSet="
                ),
            )

    # -- what is seen -------------------------------------------------------------------------

    def process(self, worker: WorkerId) -> Process | None:
        handle = self._handles.get(worker)
        return None if handle is None else handle.process

    def processes(self) -> dict[WorkerId, Process]:
        return {worker: handle.process for worker, handle in self._handles.items()}

    def shared_slots(self) -> set[SlotId]:
        """Those that several living workers were given."""
        given = Counter(slot for handle in self._handles.values() for slot in handle.slots.values())
        return {slot for slot, count in given.items() if count > 1}

    def seems_to_listen(self, worker: WorkerId) -> bool:
        """As far as can be seen at once; where not, a census tells."""
        handle = self._handles.get(worker)
        if handle is None:
            return True
        return handle.process.has_placed([handle.slots[name] for name in self._listeners.pools])

    def status(self, worker: WorkerId) -> str | None:
        """Its last STATUS=."""
        handle = self._handles.get(worker)
        return None if handle is None else handle.status

    def look(self) -> None:
        """Pass their output on, and see who let its slot go or has gone with all its tree."""
        self.relay.look()
        self.outputs.look()
        self.strays.look(self._handles, self._kill_after())
        for worker, handle in list(self._handles.items()):
            self._messages.look(worker, handle)
            if handle.process.exit is not None:
                self._look_after(worker, handle)

    def look_for_holders(self) -> Callable[[], Callable[[], None]] | None:
        """What looks, in a thread, for other processes with our sockets, if it is time to.

        It returns what takes in the result, in the loop.
        """
        if not self.strays.scan_is_due():
            return None
        known = frozenset[int]().union(
            *(handle.process.seen() for handle in self._handles.values())
        )

        def look() -> Callable[[], None]:
            found = self.strays.scan(known)
            return lambda: self.strays.scanned(found, self._handles)

        return look

    def reap_orphans(self) -> None:
        """Reap what workers left behind and we inherited."""
        reap_orphans(frozenset(handle.process.pid for handle in self._handles.values()))

    def _look_again(self, worker: WorkerId) -> None:
        if handle := self._handles.get(worker):
            self._look_after(worker, handle)

    def _main_ended(self, worker: WorkerId) -> None:
        handle = self._handles.get(worker)
        if handle is None or handle.process.exit is not None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(handle.process.pidfd)
        if handle.process.reap() is None:  # one that is not our child: how it ended is told later
            loop.call_later(STATUS_RETRY_SECONDS, self._main_ended, worker)
            return
        self._look_after(worker, handle)

    def _look_after(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """Its main process has ended: it is gone when all of its tree are."""
        self.strays.look(self._handles, self._kill_after())
        members = handle.process.members()
        if not (members and handle.leftover) and not self.outputs.is_complete(worker):
            asyncio.get_running_loop().call_later(
                LAST_WORDS_RETRY_SECONDS, self._look_again, worker
            )
            return
        if not members:
            self._finish_exit(worker, handle)
            return
        if handle.killed:  # one of them may have forked in that moment
            handle.process.kill()
        if not handle.leftover:
            handle.leftover = True
            ended = handle.process.exit
            assert ended is not None
            self._messages.read_notify(worker, handle)
            advice = self._advice(ended, self.outputs.last_lines(worker))
            self._post(MainProcessEnded(worker, ended, advice))

    def _advice(self, ended: Exit, last_words: Sequence[str]) -> str | None:
        """What its last words say of the end, where that can be told from them."""
        addresses = [pool.address for pool in self._listeners.pools.values()]
        if ended.status in NOT_EXECUTED and last_words:
            return printable(last_words[-1][:LAST_WORD_CHARS])
        return taken_by_us(last_words, addresses)

    def _finish_exit(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """No process of its tree is left. What raises before it is forgotten is done again."""
        self._messages.read_notify(worker, handle)
        last_words = self.outputs.ended(worker)
        self._listeners.held_probes.end(handle.process)
        ended = handle.process.exit
        assert ended is not None
        advice = self._advice(ended, last_words)
        self._listeners.inspect(frozenset(handle.slots.values()))
        self._store.drop([worker_name(worker)])
        self._messages.end(handle)
        del self._handles[worker]
        handle.close()
        self._post(WorkerExited(worker, ended, advice))
