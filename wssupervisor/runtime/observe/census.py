"""Counting each worker's live connections from the kernel, without asking the worker."""

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.handover.document import HandshakesState
from wssupervisor.runtime.kernel.inet_diag import Handshake, pending_handshakes
from wssupervisor.runtime.kernel.threads import waits_for
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.listeners.tcp_pool import TcpPool
from wssupervisor.runtime.workers.process import Process

HANDSHAKES_MAX = 500
"""Looked at one by one; each costs 20 microseconds, at each look and in the saved state."""
USUAL_RETRIES, MOST_RETRIES = 5, 7


@dataclass(frozen=True, slots=True)
class Count:
    """`cpu_seconds`: what the round cost; `began_at` monotonic."""

    by_worker: Mapping[WorkerId, int]
    listening: Mapping[WorkerId, AbstractSet[int]]
    """Inodes of the listener's slots that the worker's tree holds."""
    unattributed: int
    descriptors: Mapping[WorkerId, int]
    """All that the worker's tree has open, of whatever kind."""
    held: frozenset[int]
    """Inodes of all connections of our workers."""
    began_at: float
    cpu_seconds: float
    strays: frozenset[int] = frozenset()
    """Inodes of the unattributed ones."""
    hidden: frozenset[WorkerId] = frozenset()
    """Workers with a process that cannot be looked into."""
    held_up: frozenset[WorkerId] = frozenset()
    """Of the stalled ones those with a thread that waits for a client."""


def take(
    pools: Sequence[Pool],
    processes: Mapping[WorkerId, Process],
    others: AbstractSet[int] = frozenset(),
    stalled: AbstractSet[WorkerId] = frozenset(),
) -> Count:
    """One round: descriptors, inet_diag, descriptors. May run in a thread; raises OSError.

    `others`: sockets of processes that belong to no worker any more.

    A socket with an inode belongs to whose tree holds it, in any state: CLOSE_WAIT is a client that
    may still read. But when the process that accepted it has let it go, and only helpers that
    inherited it are left, no process will send that client anything. Inode 0 is queued (the queue's
    length tells) or closed by its process. A descriptor that moves while we read is found before or
    after; a socket that is in neither reading was in flight between processes, or is somebody
    else's: unattributed.
    """
    began_at, cpu = time.monotonic(), time.thread_time()
    before = {worker: process.socket_inodes() for worker, process in processes.items()}
    connections = [pool.connections() for pool in pools]
    sockets = {worker: process.sockets() for worker, process in processes.items()}
    after = {worker: set[int]().union(*found.values()) for worker, found in sockets.items()}
    inodes = frozenset[int]().union(*(one.held for one in connections))
    left = frozenset[int]().union(*(one.peer_left for one in connections))
    held = {worker: (before[worker] | after[worker]) & inodes for worker in processes}
    attributed = frozenset[int]().union(*held.values())
    helpers = {
        worker: process.serving.look(sockets[worker], inodes, left)
        for worker, process in processes.items()
    }
    abandoned = {worker: found.keys() & left for worker, found in helpers.items()}
    stray = frozenset[int]().union(*(one.live for one in connections)) - attributed - others
    if stray:
        stray &= _still_there(pools)
    hidden = frozenset(worker for worker, process in processes.items() if process.hidden())
    held_up = frozenset(one for one in sockets.keys() & stalled if waits_for(sockets[one], inodes))
    slots = {slot.inode for pool in pools for slot in pool.slots}
    return Count(
        {worker: len(found - abandoned[worker]) for worker, found in held.items()},
        {worker: (before[worker] | after[worker]) & slots for worker in processes},
        len(stray),
        {worker: process.descriptor_count() for worker, process in processes.items()},
        attributed,
        began_at,
        time.thread_time() - cpu,
        stray,
        hidden,
        held_up,
    )


def may_have_changed(last: Count, processes: Mapping[WorkerId, Process]) -> bool:
    """Whether a census now might find other counts, at the cost of a system call a process.

    A hint: something was opened or closed, not necessarily a connection. True where nothing can
    be said: an unknown worker, an old kernel.
    """
    return any(
        not (now := process.descriptor_count()) or now != last.descriptors.get(worker)
        for worker, process in processes.items()
    )


def _still_there(pools: Sequence[Pool]) -> frozenset[int]:
    return frozenset[int]().union(*(pool.connections().held for pool in pools))


class Handshakes:
    """Which handshakes that began before a steering are still under way.

    A listener's queue does not count them, and they have no slot yet
    (docs/internals/platform.md#syn_recv-has-no-slot). Those that are pending at each steering are
    recorded, and looked up until each is gone. If there are more than HANDSHAKES_MAX (a flood of
    SYNs), the epoch is over when none of them can live any longer.
    """

    def __init__(self, pools: Sequence[TcpPool]) -> None:
        self._pools = pools
        self._pending: dict[int, set[Handshake]] = {}
        self._until: dict[int, float] = {}
        """By epoch: when all of too many are over."""
        self._latest = 0
        self._unseen: set[int] = set()
        """Epochs at whose steering the handshakes could not be read."""
        self._life = _life_seconds()

    def record(self, epoch: int) -> None:
        """Right after the steering of this epoch took force. Never raises.

        What cannot be seen now is read at the next look: all that is pending then is waited for.
        """
        self._latest = epoch
        self._unseen.add(epoch)
        with suppress(OSError):
            self._see(self._now())

    def carry(self) -> HandshakesState:
        pending = {epoch: tuple(left) for epoch, left in self._pending.items()}
        return HandshakesState(pending, self._latest, tuple(self._unseen), dict(self._until))

    def take_over(self, carried: HandshakesState) -> None:
        self._pending = {epoch: set(left) for epoch, left in carried.pending.items()}
        self._latest = carried.latest
        self._unseen = set(carried.unseen)
        self._until = dict(carried.until)

    def over(self) -> int:
        """The last epoch up to which nothing that was recorded is still pending. Raises OSError."""
        if self._pending or self._unseen:
            self._see(self._now())
        now = time.monotonic()
        self._until = {epoch: until for epoch, until in self._until.items() if until > now}
        return min([*self._pending, *self._until], default=self._latest + 1) - 1

    def _see(self, now: set[Handshake]) -> None:
        self._pending |= dict.fromkeys(self._unseen, now)
        self._unseen.clear()
        if len(now) > HANDSHAKES_MAX:
            self._until |= dict.fromkeys(self._pending, time.monotonic() + self._life)
            self._pending.clear()
        self._pending = {epoch: left for epoch, old in self._pending.items() if (left := old & now)}

    def _now(self) -> set[Handshake]:
        """All of them, or more than HANDSHAKES_MAX."""
        found: set[Handshake] = set()
        for pool in self._pools:
            found |= pending_handshakes(pool.family, pool.port, HANDSHAKES_MAX)
        return found


def _life_seconds() -> float:
    """How long the kernel answers a SYN again before it gives up (tcp(7), tcp_synack_retries)."""
    retries = USUAL_RETRIES
    with suppress(OSError, ValueError):
        retries = int(Path("/proc/sys/net/ipv4/tcp_synack_retries").read_text(encoding="ascii"))
    return 2.0 ** (min(retries, MOST_RETRIES) + 1)
