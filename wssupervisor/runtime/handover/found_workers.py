"""The workers of a supervisor that died, found in its state, in systemd's store and in /proc."""

import errno
import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from wssupervisor.fleet.model import Exit, WorkerId
from wssupervisor.fleet.state import State, Worker
from wssupervisor.runtime.fd_store import RestoredFds, worker_name
from wssupervisor.runtime.handover import orphans
from wssupervisor.runtime.handover.state_file import SavedState
from wssupervisor.runtime.kernel.pidfd import exit_of
from wssupervisor.runtime.kernel.procfs import descriptors_named, environment, is_alive
from wssupervisor.runtime.workers.channel import after_death
from wssupervisor.runtime.workers.handle import WorkerHandleState
from wssupervisor.runtime.workers.kin import identity_in
from wssupervisor.runtime.workers.notify_socket import NotifySocketState, bound_again
from wssupervisor.runtime.workers.output import OutputState
from wssupervisor.runtime.workers.output_reader import EndedOutputState
from wssupervisor.runtime.workers.process import ProcessState
from wssupervisor.runtime.workers.relay import living


class FoundWorkers:
    """The workers of the fleet's `state`; `notify_at`: prefix of their notify sockets' paths."""

    def __init__(self, saved: SavedState, state: State, notify_at: str) -> None:
        crew = saved.document.supervisor.crew
        self._state = state
        self._notify_at = notify_at
        self._known = {worker.id: worker for worker in crew.workers}
        self._relays = living(crew.relay)
        self.carriers = orphans.carriers(saved.name, orphans.supervisors_of(saved))
        self.running: dict[WorkerId, int] = {}
        """The main process of each worker that has a living process."""
        self.gone: dict[WorkerId, Exit] = {}
        self.ended_outputs: list[EndedOutputState] = []
        """What those that are gone wrote last; the caller owns the descriptors."""
        self.members_of: dict[WorkerId, dict[int, int]] = {}

    def find(self, stored: RestoredFds) -> tuple[WorkerHandleState, ...]:
        """The workers that have a living process; the caller owns their descriptors.

        Raises OSError.
        """
        found = (self._worker(worker, stored) for worker in self._state.workers())
        return tuple(worker for worker in found if worker is not None)

    def living(self) -> list[int]:
        return sorted(pid for members in self.members_of.values() for pid in members)

    def _worker(self, worker: Worker, stored: RestoredFds) -> WorkerHandleState | None:
        name, known = worker_name(worker.id), self._known.get(worker.id)
        pidfd = stored.take(name, "pidfd")
        seen = self._members(worker.id)
        main = worker.pid or (known and known.process.pid) or orphans.root(seen)
        if not seen or not main:
            self.gone[worker.id] = _how(pidfd, main, known)
            if pidfd is not None:
                os.close(pidfd)
            self._keep_output(stored, worker.id, main or 0, known)
            return None
        self.running[worker.id] = main
        self.members_of[worker.id] = seen
        process = ProcessState(
            main,
            os.pidfd_open(main if main in seen else min(seen)) if pidfd is None else pidfd,
            identity_in(environment(min(seen))) if known is None else known.process.identity,
            None if main in seen else _how(pidfd, main, known),
            dict(seen),
            None if known is None else known.process.acceptor,
        )
        channel = stored.take(name, "SOCK_STREAM")
        return WorkerHandleState(
            worker.id,
            process,
            _output(stored, self._relays, seen, worker.id, known),
            self._notify(stored.take(name, "SOCK_DGRAM"), worker.id, min(seen)),
            after_death(
                _closed_socket() if channel is None else channel,
                closed=channel is None or (known is not None and known.channel.closed),
            ),
            worker.watchdog,
            dict(worker.slots),
            None if known is None else known.status,
            None if known is None else known.library,
        )

    def _keep_output(
        self, stored: RestoredFds, worker: WorkerId, pid: int, known: WorkerHandleState | None
    ) -> None:
        """Keep what a worker wrote before it ended while no supervisor lived, if systemd has it."""
        file, pipe = (stored.take(worker_name(worker), kind) for kind in ("memfd", "pipe:"))
        if file is not None:
            output = _continued(file, _closed_pipe() if pipe is None else pipe, known)
            self.ended_outputs.append(EndedOutputState(worker, pid, output))

    def _members(self, worker: WorkerId) -> dict[int, int]:
        """Living processes of the worker's tree, with their start times."""
        found = dict(self.carriers.get(orphans.key(worker), {}))
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


def _how(pidfd: int | None, pid: int | None, known: WorkerHandleState | None) -> Exit:
    """How the main process ended, from the kernel or the saved state; empty if unknown."""
    ended = None if pidfd is None or pid is None else exit_of(pidfd, pid)
    if ended is None and known is not None:
        ended = known.process.exit
    return ended or Exit()


def _closed_socket() -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
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
    """The output of a living worker."""
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
    return _continued(descriptor, pipe, known)


def _continued(descriptor: int, pipe: int, known: WorkerHandleState | None) -> OutputState:
    """An output from where the log of the last supervisor ends, without dropped bytes."""
    written_to = 0 if known is None else known.output.written_to
    try:
        at = os.lseek(descriptor, written_to, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        at = os.fstat(descriptor).st_size
    return OutputState(descriptor, at, at, at, "", (), pipe, os.fstat(pipe).st_ino)


def _opened(pids: Iterable[int], link: str, flags: int) -> int | None:
    """The file that one of these processes has open under this name, opened again."""
    for pid in pids:
        for path in descriptors_named(pid, link):
            with suppress(OSError):
                return os.open(path, flags | os.O_CLOEXEC)
    return None
