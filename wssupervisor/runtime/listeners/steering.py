"""One listener's steering: which slot has which group index, and the program in force.

The program cannot be read back
(docs/internals/platform.md#an-attached-program-outlives-its-process), so this object is the only
one that attaches. Indexes move (platform.md#group-indexes-move), so the index of each slot is
measured with connections of our own and then kept by inode.
"""

import ctypes
import errno
import socket
import struct
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog

from wssupervisor.errors import ListenFailed, SteeringRefused, Unreachable
from wssupervisor.fleet.model import SlotId
from wssupervisor.foreign import CLIENTS
from wssupervisor.runtime.kernel.bpf import packed
from wssupervisor.runtime.kernel.inet_diag import (
    DiagSocket,
    Endpoint,
    TcpState,
    pending_handshakes,
)
from wssupervisor.runtime.listeners.probe_socket import (
    CONNECT_SECONDS,
    longer_queues,
    marked,
    probe_socket,
)
from wssupervisor.runtime.listeners.socket_options import set_nonblocking
from wssupervisor.runtime.listeners.steering_program import ProbeRule, steering_program
from wssupervisor.runtime.listeners.tcp_pool import Slot, TcpPool

log = structlog.get_logger()

SO_ATTACH_REUSEPORT_CBPF = 51
SO_LOCK_FILTER = 44
_PROGRAM = struct.Struct("HP")

HANDSHAKES_SECONDS = 2.0
"""Longest wait, at start, for handshakes that began before the first steering."""
LOOK_SECONDS = 0.001
ROUNDS = 3
"""Tries to measure one index: a stray connection can spoil a try."""
ROOM = 64
"""Connections by which a full slot's limit is raised, so that our probes fit beside clients."""

REFUSALS = {
    errno.EPERM: "the kernel or a sandbox (seccomp, LSM) forbids it",
    errno.EACCES: "the kernel or a sandbox (seccomp, LSM) forbids it",
    errno.ENOPROTOOPT: "this kernel does not know it (4.5 or newer is needed)",
    errno.ENOMEM: "no memory for it (net.core.optmem_max is the limit)",
    errno.EINVAL: "the kernel rejects the program",
}


@dataclass(frozen=True, slots=True)
class SteeringState:
    """`order`: inode by group index. `probes`: our probes that are not accepted yet, by slot."""

    order: tuple[SlotId, ...]
    weights: dict[SlotId, int]
    by_client: bool
    probes: tuple[tuple[SlotId, Endpoint], ...]


class Steering:
    """Attaches programs. If the kernel refuses one, the previous one stays: SteeringRefused."""

    def __init__(self, pool: TcpPool) -> None:
        self.pool = pool
        self.order: list[SlotId] = [slot.inode for slot in pool.slots]
        """Inode by group index; until `measure` has run, in the order of the descriptors."""
        self.weights: Mapping[SlotId, int] = {}
        self.by_client = False
        """Whether the client's address picks a slot, instead of a random number."""
        self._probes: dict[Endpoint, SlotId] = {}
        self._left: dict[SlotId, set[Endpoint]] = {}
        """By slot: source addresses of our probes that are still in its queue."""
        self._moved: tuple[Sequence[int], Sequence[SlotId]] | None = None
        """Moved indexes and their slots now, if the program in force does not know them."""

    def save(self) -> SteeringState:
        probes = tuple((slot, end) for slot, ends in self._left.items() for end in ends)
        return SteeringState(tuple(self.order), dict(self.weights), self.by_client, probes)

    @classmethod
    def restore(cls, pool: TcpPool, state: SteeringState, *, attach: bool) -> "Steering":
        """Continue with the saved weights; probes that were under way are dropped.

        Without `attach`, the program in force stays, with those probes and with what a dead
        supervisor may have attached after it saved. Raises SteeringRefused.
        """
        found = cls(pool)
        found.order = list(state.order)
        for slot, end in state.probes:
            found._left.setdefault(slot, set()).add(end)
        found.weights, found.by_client = dict(state.weights), state.by_client
        if attach:
            found.attach(found.weights, by_client=found.by_client)
        return found

    def attach(self, weights: Mapping[SlotId, int], *, by_client: bool = False) -> None:
        """Send new connections to these slots from now on. Raises SteeringRefused."""
        before, self.by_client = self.by_client, by_client
        try:
            self._attach(weights, self._probes)
        except (SteeringRefused, OSError):
            self.by_client = before
            raise
        self.weights = dict(weights)

    @contextmanager
    def probing(self, source: Endpoint, slot: SlotId) -> Iterator[None]:
        """Within the context, connections from this address go to the slot, not by the table."""
        self._probes[source] = slot
        self._left.setdefault(slot, set()).add(source)
        try:
            self._attach(self.weights, self._probes)
            yield
        finally:
            del self._probes[source]
            self._attach(self.weights, self._probes)

    def _attach(
        self,
        weights: Mapping[SlotId, int],
        probes: Mapping[Endpoint, SlotId],
        extra: Sequence[ProbeRule] = (),
    ) -> None:
        index = {inode: at for at, inode in enumerate(self.order)}
        rules = [ProbeRule(host, port, index[slot]) for (host, port), slot in probes.items()]
        table = {index[slot]: weight for slot, weight in weights.items()}
        identities = dict(enumerate(self.order)) if self.by_client else None
        try:
            code = packed(steering_program(table, [*extra, *rules], identities))
        except ValueError as error:
            raise self._refused(str(error)) from error
        member = self._member()
        buffer = ctypes.create_string_buffer(code, len(code))
        program = _PROGRAM.pack(len(code) // 8, ctypes.addressof(buffer))
        try:
            member.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
        except OSError as error:
            why = REFUSALS.get(error.errno or 0, error.strerror)
            raise self._refused(why) from error

    def _refused(self, why: str | None) -> SteeringRefused:
        return SteeringRefused(
            f"listener {self.pool.name!r}: the steering program could not be attached to"
            f" {self.pool.address}: {why}"
        )

    def _member(self) -> Slot:
        """Return a slot in the group, preferably one whose program no worker has locked.

        A slot that was shut down would take the program only for itself.
        """
        locked = None
        for slot in self.pool.slots:
            if slot.listening():
                if not slot.socket.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER):
                    return slot
                locked = locked or slot
        if locked is not None:
            return locked
        raise SteeringRefused(
            f"listener {self.pool.name!r}: all slots of {self.pool.address} were shut down"
        )

    def accepted(self, source: Endpoint, slot: SlotId) -> None:
        """A process accepted the probe from this source: forget the probe."""
        self._left.get(slot, set()).discard(source)

    @property
    def probes_left(self) -> bool:
        return any(self._left.values())

    def take_back(self, unheld: Container[SlotId]) -> None:
        """Accept our own leftover probes in slots that no process holds and no table names.

        Otherwise a worker would be started only to see our own dead connection.
        """
        for inode, sources in list(self._left.items()):
            if inode in unheld:
                del self._left[inode]
                self._accept_own(self.pool.by_inode(inode), sources)

    def _accept_own(self, slot: Slot, sources: Iterable[Endpoint]) -> None:
        """Accept and close the probes in its queue, unless clients wait there, too."""
        own = self.pool.own
        ends = [own.find(source) for source in sources]
        cookies = own.cookies
        waiting = [end for end in ends if end and end.queued and end.cookie in cookies]
        if slot.queued() == len(waiting):
            set_nonblocking(
                slot.socket
            )  # a worker may have made it blocking, and may accept before us
            with suppress(BlockingIOError):
                for _ in waiting:
                    connection, _ = slot.socket.accept()
                    CLIENTS.close(
                        [connection.detach()]
                    )  # it may have inherited SO_LINGER from a worker

    # -- indexes at start ---------------------------------------------------------------------

    def measure(self) -> list[SlotId]:
        """At start: steer everything to the last index and find out which slot each index is.

        Waits up to HANDSHAKES_SECONDS for older handshakes. Raises SteeringRefused, ListenFailed.
        """
        last = len(self.order) - 1
        self.attach({self.order[last]: 1})  # its slot is not known yet
        try:
            with probe_socket(self.pool):
                pass
        except Unreachable as error:
            log.warning(
                "slots cannot be measured; using the order in which they came",
                listener=self.pool.name,
                why=str(error),
                lost="workers are not probed: a running worker counts as ready",
            )
            return list(self.order)
        quiet = self._await_handshakes()
        for slot in self.pool.slots:
            if slot.full():
                slot.make_room(ROOM)
        # The last index first: when its slot is known, clients disturb no other measurement.
        found: dict[int, SlotId | None] = {}
        for index in (last, *range(last)):
            unknown = [slot for slot in self.pool.slots if slot.inode not in found.values()]
            found[index] = self._measured(index, unknown, takes_back=quiet)
        self.order = self._completed(found)
        self.attach({self.order[last]: 1})
        self.pool.own.forget_ended()
        return list(self.order)

    def _await_handshakes(self) -> bool:
        """Whether connections can now arrive only where they are steered."""
        until = time.monotonic() + HANDSHAKES_SECONDS
        while pending_handshakes(self.pool.family, self.pool.port, 0):
            if time.monotonic() >= until:
                return False  # a client that stopped answering, or a SYN flood
            time.sleep(LOOK_SECONDS)
        return True

    def _measured(
        self, index: int, candidates: Sequence[Slot], *, takes_back: bool
    ) -> SlotId | None:
        """The slot in which a connection steered to this index arrives; None if in none."""
        for _ in range(ROUNDS):
            before = {slot.inode: slot.queued() for slot in candidates}
            with probe_socket(self.pool) as (client, source):
                if self._arrival(client, source, index) is None:
                    return None
                grown = longer_queues(before, candidates)
                if len(grown) == 1:
                    if takes_back:
                        self._accept_own(grown[0], [source])
                    return grown[0].inode
        sent: list[Endpoint] = []
        marked = (slot.inode for slot in candidates if self._leads_to(index, slot.inode, sent))
        return next(marked, None)

    def _completed(self, found: Mapping[int, SlotId | None]) -> list[SlotId]:
        """Return the slot of each index. Full slots, which no probe reached, keep their order."""
        rest = [slot for slot in self.pool.slots if slot.inode not in found.values()]
        if len(rest) > 1 and not all(slot.full() for slot in rest):
            raise ListenFailed(
                f"listener {self.pool.name!r}: connections from this machine to"
                f" {self.pool.address} did not arrive, so its slots cannot be"
                " distinguished. Does a firewall block loopback?"
            )
        left = iter([slot.inode for slot in rest])
        measured = (found[index] for index in range(len(found)))
        return [next(left) if inode is None else inode for inode in measured]

    # -- indexes after a shutdown -------------------------------------------------------------

    def recover(self, backlog: int) -> bool:
        """Make slots listen again that a worker shut down; True if indexes moved.

        The kernel moves the last slot of the group into each hole and appends slots that listen
        again. If several moved, their order is measured. Raises SteeringRefused, OSError; the next
        call then finishes the work.
        """
        down = [slot for slot in self.pool.slots if not slot.listening()]
        if not down:
            return self._settle()
        gone = {slot.inode for slot in down}
        left = len(self.order) - len(down)
        holes = [index for index in range(left) if self.order[index] in gone]
        movers = [inode for inode in self.order[left:] if inode not in gone]
        up, failed = self._listen_again(down, backlog)
        self.order = [*self.order[:left], *up, *failed]
        self._moved = holes, movers
        self._settle()
        for error in failed.values():
            self._moved = [], []
            raise error
        return True

    def _settle(self) -> bool:
        """Attach a program with the moved indexes; False if none moved. Raises SteeringRefused."""
        if self._moved is None:
            return False
        holes, movers = self._moved
        self._fill(holes, movers)
        if len(holes) > 1:
            self._fill(holes, self._who_moved(holes, movers))
        self._moved = None
        return True

    def _listen_again(
        self, down: Iterable[Slot], backlog: int
    ) -> tuple[list[SlotId], dict[SlotId, OSError]]:
        """Return slots now at the end of the group, and the errors of those still outside."""
        up: list[SlotId] = []
        failed: dict[SlotId, OSError] = {}
        for slot in down:
            try:
                slot.socket.listen(backlog)
            except OSError as error:
                failed[slot.inode] = error
            else:
                slot.times_down += 1
                up.append(slot.inode)
        return up, failed

    def _fill(self, holes: Sequence[int], movers: Sequence[SlotId]) -> None:
        for hole, mover in zip(holes, movers, strict=True):
            self.order[hole] = mover
        self._attach(self.weights, self._probes)

    def _who_moved(self, holes: Sequence[int], movers: Sequence[SlotId]) -> list[SlotId]:
        """The moved slots in the order of their holes; a guess if several are full."""
        left = list(movers)
        found: dict[int, SlotId] = {}
        for hole in holes:
            sent: list[Endpoint] = []
            mover = next((one for one in left if self._leads_to(hole, one, sent)), None)
            if mover is not None:
                left.remove(mover)
                found[hole] = mover
                if mover not in self.weights:
                    self._accept_own(self.pool.by_inode(mover), sent)
        rest = iter(left)
        return [found[hole] if hole in found else next(rest) for hole in holes]

    # -- probes -------------------------------------------------------------------------------

    def _leads_to(self, index: int, inode: SlotId, sent: list[Endpoint]) -> bool:
        """Whether the slot has this index, however busy it is, judged by `DiagSocket.marked`.

        The sources of probes that arrived are added to `sent`.
        """
        slot = self.pool.by_inode(inode)
        if slot.full():
            slot.make_room(ROOM)
        with marked(slot), suppress(Unreachable):
            for _ in range(ROUNDS):
                with probe_socket(self.pool) as (client, source):
                    arrived = self._arrival(client, source, index)
                    if arrived is None:
                        return False
                    sent.append(source)
                    if arrived.marked is not None:  # otherwise it is already closed again
                        return arrived.marked
        return False

    def _arrival(self, client: socket.socket, source: Endpoint, index: int) -> DiagSocket | None:
        """Connect to this index; return the server's end, queued or accepted. None: not arrived."""
        self._attach(self.weights, self._probes, [ProbeRule(source[0], source[1], index)])
        try:
            client.connect(self.pool.reach.target)
        except OSError:
            return None
        until = time.monotonic() + CONNECT_SECONDS
        while time.monotonic() < until:
            # We are connected once the server has answered; the server is, with our third packet.
            found = self.pool.own.remember(source)
            if found is None or found.state != TcpState.SYN_RECV:
                return found
        return None
