"""One listener's steering: which slot has which group index, and the program in force.

The program cannot be read back from the kernel, so this object is the only one that attaches, and
the index of each slot is measured with connections of our own and then kept by inode.
"""

import ctypes
import errno
import socket
import struct
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager

from wssupervisor.errors import ListenFailed, SteeringRefused
from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.slots import Slot, SlotPool
from wssupervisor.runtime.sockdiag import Endpoint, pending_handshakes
from wssupervisor.runtime.steering_program import ProbeRule, packed, steering_program

SO_ATTACH_REUSEPORT_CBPF = 51
_PROGRAM = struct.Struct("HP")

CONNECT_SECONDS = 1.0
"""A handshake over loopback; it takes microseconds unless the queue is full."""
HANDSHAKES_SECONDS = 2.0
"""How long handshakes that began before the first steering are waited for, at start."""
LOOK_SECONDS = 0.001
ROUNDS = 3
"""Measurements of one index before giving up: a stray connection can spoil one."""

REFUSALS = {
    errno.EPERM: "the kernel or a sandbox (seccomp, LSM) forbids it",
    errno.EACCES: "the kernel or a sandbox (seccomp, LSM) forbids it",
    errno.ENOPROTOOPT: "this kernel does not know it (4.5 or newer is needed)",
    errno.ENOMEM: "no memory for it (net.core.optmem_max is the limit)",
    errno.EINVAL: "the kernel does not take the program",
}


class Steering:
    """Raises SteeringRefused where the kernel refuses; then what was in force stays in force."""

    def __init__(self, pool: SlotPool) -> None:
        self.pool = pool
        self.order: list[SlotId] = [slot.inode for slot in pool.slots]
        """Inode by group index: as handed over until `measure` has looked."""
        self.weights: Mapping[SlotId, int] = {}
        self._probes: dict[Endpoint, SlotId] = {}
        self._left: dict[SlotId, set[Endpoint]] = {}
        """Probes of ours that nobody has accepted yet: they lie in their slot's queue."""

    def attach(self, weights: Mapping[SlotId, int]) -> None:
        """New connections go to these slots from now on. Raises SteeringRefused."""
        self._attach(weights, self._probes)
        self.weights = dict(weights)

    @contextmanager
    def probing(self, source: Endpoint, slot: SlotId) -> Iterator[None]:
        """Inside, connections from this source address go to the slot, whatever the table says."""
        self._probes[source] = slot
        self._left.setdefault(slot, set()).add(source)
        try:
            self._attach(self.weights, self._probes)
            yield
        finally:
            del self._probes[source]
            self._attach(self.weights, self._probes)

    def _attach(self, weights: Mapping[SlotId, int], probes: Mapping[Endpoint, SlotId]) -> None:
        index = {inode: at for at, inode in enumerate(self.order)}
        rules = [ProbeRule(host, port, index[slot]) for (host, port), slot in probes.items()]
        self._load({index[slot]: weight for slot, weight in weights.items()}, rules)

    def _load(self, weights: Mapping[int, int], rules: Sequence[ProbeRule]) -> None:
        code = packed(steering_program(weights, rules))
        buffer = ctypes.create_string_buffer(code, len(code))
        program = _PROGRAM.pack(len(code) // 8, ctypes.addressof(buffer))
        try:
            self.pool.slots[0].socket.setsockopt(
                socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program
            )
        except OSError as error:
            why = REFUSALS.get(error.errno or 0, error.strerror)
            raise SteeringRefused(
                f"listener {self.pool.name!r}: the steering program could not be attached to"
                f" {self.pool.address}: {why}"
            ) from error

    def accepted(self, source: Endpoint, slot: SlotId) -> None:
        """Somebody took that probe out of the slot's queue."""
        self._left.get(slot, set()).discard(source)

    def take_back(self, unheld: Container[SlotId]) -> None:
        """Empty slots that nobody holds and nothing is steered to of probes left behind.

        Such a slot was a candidate's: only probes ever reached it. Or a worker needs to be started
        only to see our own dead connection.
        """
        for inode, sources in list(self._left.items()):
            slot = self.pool.by_inode(inode)
            if inode not in unheld:
                continue
            del self._left[inode]
            if slot.queued() <= len(sources):
                while slot.queued():
                    _accept_own(slot, sources)

    # -- indexes ------------------------------------------------------------------------------

    def measure(self) -> list[SlotId]:
        """At start: steer everything to the last index and find out which slot each index is.

        Waits up to HANDSHAKES_SECONDS for older handshakes. Raises SteeringRefused, ListenFailed.
        """
        last = len(self.order) - 1
        self._load({last: 1}, ())
        self._await_handshakes()
        found = [self._measured(index, {last: 1}) for index in range(last)]
        rest = [slot.inode for slot in self.pool.slots if slot.inode not in found]
        if len(rest) != 1:
            raise ListenFailed(
                f"listener {self.pool.name!r}: the kernel's order of the slots on"
                f" {self.pool.address} could not be found out (indexes led to {found})"
            )
        self.order = [*found, *rest]
        self.weights = {rest[0]: 1}
        return self.order

    def _await_handshakes(self) -> None:
        until = time.monotonic() + HANDSHAKES_SECONDS
        while pending_handshakes(self.pool.family, self.pool.port):
            if time.monotonic() >= until:
                return  # somebody floods us with SYNs; `_measured` copes with strays
            time.sleep(LOOK_SECONDS)

    def _measured(self, index: int, weights: Mapping[int, int]) -> SlotId:
        """The slot that a connection steered to this index arrives in."""
        for _ in range(ROUNDS):
            before = {slot.inode: slot.queued() for slot in self.pool.slots}
            with probe_socket(self.pool) as (client, source):
                self._load(weights, [ProbeRule(source[0], source[1], index)])
                try:
                    client.connect((self.pool.reachable_host, self.pool.port))
                except OSError:
                    continue
                grown = [slot for slot in self.pool.slots if slot.queued() > before[slot.inode]]
                grown = [slot for slot in grown if slot.inode != self._parking(weights)] or grown
                if len(grown) == 1:
                    _take_back(grown[0], source, empty_before=before[grown[0].inode] == 0)
                    return grown[0].inode
        raise ListenFailed(
            f"listener {self.pool.name!r}: a connection from this machine to {self.pool.address}"
            " did not arrive, so its slots cannot be told apart; does a firewall block loopback?"
        )

    def _parking(self, weights: Mapping[int, int]) -> SlotId | None:
        (at,) = weights
        return self.order[at] if at < len(self.order) else None

    def recover(self, backlog: int) -> bool:
        """Let slots that a worker shut down listen again; True when indexes moved.

        The kernel moves the last of the group into a hole and puts who listens again at the end.
        """
        down = [slot for slot in self.pool.slots if not slot.listening()]
        for slot in down:
            hole = self.order.index(slot.inode)
            self.order[hole] = self.order[-1]
            self.order[-1] = slot.inode
            slot.listen(backlog)
        if down:
            self._attach(self.weights, self._probes)
        return bool(down)


@contextmanager
def probe_socket(pool: SlotPool) -> Iterator[tuple[socket.socket, Endpoint]]:
    """A client socket with a source address of its own; it gives up after CONNECT_SECONDS."""
    with socket.socket(pool.family, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_SECONDS)
        client.bind((pool.reachable_host, 0))
        host, port = client.getsockname()[:2]
        yield client, (host, port)


def _take_back(slot: Slot, source: Endpoint, *, empty_before: bool) -> None:
    """Accept our own probe, so that no dead connection waits for a worker.

    Only where the queue was empty and new connections go elsewhere: nothing but the probe can be
    in it. Behind waiting clients the probe stays; the worker that serves them sees it end.
    """
    if not empty_before or slot.queued() != 1:
        return
    _accept_own(slot, {source})


def _accept_own(slot: Slot, sources: Container[Endpoint]) -> None:
    connection, peer = slot.socket.accept()
    connection.close()
    if (plain(peer[0]), peer[1]) not in sources:
        raise ListenFailed(
            f"a connection from {peer[0]} arrived in a slot that nothing is steered to"
        )


def plain(host: str) -> str:
    """An address as its own family writes it, not as a dual-stack socket does."""
    return host.removeprefix("::ffff:")
