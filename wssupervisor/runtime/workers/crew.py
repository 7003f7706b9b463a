"""The living workers: spawns, signals and watches them until none of their processes is left."""

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
from wssupervisor.runtime.workers import leftover_processes
from wssupervisor.runtime.workers.bound_itself import taken_by_us
from wssupervisor.runtime.workers.channel import Channel
from wssupervisor.runtime.workers.handle import WorkerHandle, WorkerHandleState, marks_of
from wssupervisor.runtime.workers.messages import Messages
from wssupervisor.runtime.workers.notify_socket import NotifySocket, printable
from wssupervisor.runtime.workers.output import Output, OutputLines
from wssupervisor.runtime.workers.output_reader import OutputReader, OutputReaderState
from wssupervisor.runtime.workers.process import Process, supervisor_id
from wssupervisor.runtime.workers.relay import Relay, RelayState
from wssupervisor.runtime.workers.strays import Strays
from wssupervisor.worker.protocol import FromSupervisor

log = structlog.get_logger()

STATUS_RETRY_SECONDS = 0.02
"""Seconds between two attempts to learn how a process ended that is not our child."""
NOT_EXECUTED = (126, 127)
"""Exit statuses of a shell that could not run its command; its last line gives the reason."""
LAST_WORD_CHARS = 300
LAST_WORDS_RETRY_SECONDS = 0.002
"""Seconds between two checks whether an ended worker's last words have arrived."""


@dataclass(frozen=True, slots=True)
class CrewState:
    workers: tuple[WorkerHandleState, ...]
    outputs: OutputReaderState
    relay: RelayState


class Crew:
    """Spawns, watches and signals workers; posts what it sees as events."""

    def __init__(
        self,
        instance: str,
        notify_at: str | None,
        listeners: ListenerSet,
        post: Callable[[Event], None],
        deliver: Callable[[WorkerId, int, OutputLines], None],
        takes: Callable[[], bool],
        warn: Callable[[WorkerId, str], None],
        store: FdStore,
        kill_after: Callable[[], float],
        relay_started: Callable[[], None],
        saved: CrewState | None = None,
    ) -> None:
        """`notify_at`: prefix of the paths of the workers' notify sockets; None: no paths.

        `takes`: whether `deliver` has room for more worker output. `kill_after`: seconds from
        SIGTERM to SIGKILL under the current policy. `relay_started`: see Relay. `saved`: the
        previous program's state.
        """
        self._store = store
        self._instance = instance
        self._notify_at = notify_at
        self._listeners = listeners
        self._post = post
        self.relay = Relay(instance, relay_started, None if saved is None else saved.relay)
        outputs = OutputReaderState() if saved is None else saved.outputs
        self.outputs = OutputReader(self.relay, deliver, takes, outputs)
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

    def save(self, *, lean: bool) -> CrewState:
        """Return the state. `lean`: without the output and last words of ended workers."""
        outputs = OutputReaderState() if lean else self.outputs.save()
        workers = tuple(handle.save(worker) for worker, handle in self._handles.items())
        return CrewState(workers, outputs, self.relay.save())

    # -- orders of the fleet ------------------------------------------------------------------

    def spawn(self, spawn: Spawn) -> int:
        """Start a worker and watch it; return its pid. If it raises OSError, nothing is left."""
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
            # Before the process exists: the supervisor may die right after the fork.
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
        """Undo the registration of a worker that was started but could not be watched."""
        self._handles.pop(worker, None)
        self.outputs.forget(worker)
        self._messages.end(handle)
        with suppress(OSError):
            asyncio.get_running_loop().remove_reader(handle.process.pidfd)

    def _notify_socket(self, worker: WorkerId) -> NotifySocket:
        """A socket at the worker's path, or an abstract one if that fails. Raises OSError."""
        at = self._notify_at
        path = None if at is None else f"{at}.{worker}"
        try:
            return NotifySocket.create(path)
        except OSError as error:
            if path is None:
                raise
            self._warn(
                worker,
                f"{path} cannot be created ({error.strerror}): NOTIFY_SOCKET is an abstract"
                " address, which not every server supports",
            )
            return NotifySocket.create(None)

    def mend(self) -> bool:
        """Recreate notify sockets whose files were deleted; True if any were. Raises OSError."""
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
        """Pass on the last output, after all workers have ended."""
        self.outputs.finish()
        self.relay.end()

    def without_channel(self) -> list[WorkerId]:
        """Workers whose channel is closed."""
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
        """End the connections that no process serves, so clients reconnect. Raises OSError."""
        if handle := self._handles.get(worker):
            leftover_processes.free_clients(self._listeners, handle.process)

    def say(self, worker: WorkerId, message: FromSupervisor) -> None:
        """Send to a worker that uses the library; if that fails, it counts as one without."""
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
                    "it runs as another user now: end it yourself, and run the supervisor as root,"
                    " with CAP_KILL in CapabilityBoundingSet="
                ),
            )

    # -- observation --------------------------------------------------------------------------

    def process(self, worker: WorkerId) -> Process | None:
        handle = self._handles.get(worker)
        return None if handle is None else handle.process

    def processes(self) -> dict[WorkerId, Process]:
        return {worker: handle.process for worker, handle in self._handles.items()}

    def shared_slots(self) -> set[SlotId]:
        """Slots that were given to several living workers."""
        given = Counter(slot for handle in self._handles.values() for slot in handle.slots.values())
        return {slot for slot, count in given.items() if count > 1}

    def seems_to_listen(self, worker: WorkerId) -> bool:
        """Whether it still has its slots, as far as is visible at once; a census decides."""
        handle = self._handles.get(worker)
        if handle is None:
            return True
        return handle.process.has_placed([handle.slots[name] for name in self._listeners.pools])

    def status(self, worker: WorkerId) -> str | None:
        """Return the worker's last STATUS= text."""
        handle = self._handles.get(worker)
        return None if handle is None else handle.status

    def look(self) -> None:
        """Pass output on, and find workers that released their slot or whose tree has ended."""
        self.relay.look()
        self.outputs.look()
        self.strays.look(self._handles, self._kill_after())
        for worker, handle in list(self._handles.items()):
            self._messages.look(worker, handle)
            if handle.process.exit is not None:
                self._look_after(worker, handle)

    def look_for_holders(self) -> Callable[[], Callable[[], None]] | None:
        """A scan for other processes with our sockets, to run in a thread; None: not due yet.

        The scan returns a function that applies its result, to be called in the loop.
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
        """Reap the ended processes that workers left behind and the supervisor inherited."""
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
        if handle.process.reap() is None:  # not our child: its exit status is known later
            loop.call_later(STATUS_RETRY_SECONDS, self._main_ended, worker)
            return
        self._look_after(worker, handle)

    def _look_after(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """Follow a worker whose main process has ended until its whole tree has."""
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
        if handle.killed:  # a member may have forked at that moment
            handle.process.kill()
        if not handle.leftover:
            handle.leftover = True
            ended = handle.process.exit
            assert ended is not None
            self._messages.read_notify(worker, handle)
            advice = self._advice(ended, self.outputs.last_lines(worker))
            self._post(MainProcessEnded(worker, ended, advice))

    def _advice(self, ended: Exit, last_words: Sequence[str]) -> str | None:
        """Return what to do about the end of a worker, if its last words show that."""
        addresses = [pool.address for pool in self._listeners.pools.values()]
        if ended.status in NOT_EXECUTED and last_words:
            return printable(last_words[-1][:LAST_WORD_CHARS])
        return taken_by_us(last_words, addresses)

    def _finish_exit(self, worker: WorkerId, handle: WorkerHandle) -> None:
        """Forget a worker whose tree has ended. If this fails, the next look repeats it."""
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
