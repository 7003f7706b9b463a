"""Counting each worker's live connections from the kernel, without asking the worker."""

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.kernel.threads import waits_for
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.workers.process import Process


@dataclass(frozen=True, slots=True)
class Count:
    """`cpu_seconds`: what the round cost; `began_at` monotonic."""

    by_worker: Mapping[WorkerId, int]
    listening: Mapping[WorkerId, AbstractSet[int]]
    """Inodes of the listener's slots that the worker's tree holds."""
    unattributed: int
    descriptors: Mapping[WorkerId, int]
    """All open descriptors of the worker's tree."""
    held: frozenset[int]
    """Inodes of all connections of our workers."""
    began_at: float
    cpu_seconds: float
    strays: frozenset[int] = frozenset()
    """Inodes of the unattributed ones."""
    hidden: frozenset[WorkerId] = frozenset()
    """Workers with a process that may not be inspected."""
    held_up: frozenset[WorkerId] = frozenset()
    """Stalled workers with a thread that waits for a client."""


def take(
    pools: Sequence[Pool],
    processes: Mapping[WorkerId, Process],
    others: AbstractSet[int] = frozenset(),
    stalled: AbstractSet[WorkerId] = frozenset(),
) -> Count:
    """Count once: descriptors, inet_diag, descriptors again. May run in a thread; raises OSError.

    `others`: sockets of processes that no longer belong to a worker.

    A socket with an inode belongs to the worker whose tree holds it, in any state: in CLOSE_WAIT
    the client may still read. But if the process that accepted it has closed it, and only helpers
    that inherited it are left, no process will send that client anything. Inode 0 is queued (and
    counted in the queue's length) or closed by its process. A descriptor that moves during the
    round is found in the first or the second reading. A socket in neither was in flight between
    processes, or belongs to another program: it counts as unattributed.
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
    """Whether a census might find other counts now. Costs one system call for each process.

    Only a hint: something was opened or closed, not necessarily a connection. True if unknown, such
    as for a new worker or on an old kernel.
    """
    return any(
        not (now := process.descriptor_count()) or now != last.descriptors.get(worker)
        for worker, process in processes.items()
    )


def _still_there(pools: Sequence[Pool]) -> frozenset[int]:
    return frozenset[int]().union(*(pool.connections().held for pool in pools))
