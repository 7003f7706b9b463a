"""Processes that have left their worker's tree: which worker they belong to, and how they end.

A process that still has something of its worker (its session, output, environment, or a slot that
no other worker has) is put back into the tree; it drains and ends with the worker. A process that
no longer belongs to any worker keeps its slots from counting as free. The supervisor ends it if it
holds a slot; otherwise it may live until the instance stops.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from wssupervisor.fleet.model import SlotId, WorkerId
from wssupervisor.runtime.kernel import control_group, descent, pidfd
from wssupervisor.runtime.kernel.procfs import command_name, is_alive, start_time
from wssupervisor.runtime.workers import kin
from wssupervisor.runtime.workers.kin import Marks, Traits
from wssupervisor.runtime.workers.process import Process

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Between two looks at known strays and the control group. New orphans are seen at every look."""
LOOK_AT_ONCE_MAX = 100
"""At most this many new and known ones each are judged at one look; the others wait for the next.

Judging one takes about 0.1 ms of the loop.
"""
SCAN_SECONDS = 30.0
"""Shortest time between two scans of all processes for holders of our sockets."""
SCAN_SHARE = 0.0005
"""Share of one core that these scans may use."""
END_LOOK_SECONDS = 0.02
KILLED_WITHIN = 2.0


@dataclass(slots=True)
class Stray:
    """`ours`: certainly started by a worker. Other holders may have been passed the socket."""

    started: int
    sockets: frozenset[int]
    ours: bool
    signalled_at: float | None = None
    """When SIGTERM was sent to it."""


class Tree(Protocol):
    process: Process
    marks: Marks


Trees = Mapping[WorkerId, Tree]


class Strays:
    """The strays of one instance; `slots` are all its listening sockets."""

    def __init__(self, slots: frozenset[SlotId], is_relay: Callable[[int, int], bool]) -> None:
        """`is_relay` takes a pid and start time; a relay holds the pipes of all workers."""
        self._slots = slots
        self._is_relay = is_relay
        self._found: dict[int, Stray] = {}
        self._look_at = 0.0
        self._due: list[int] = []
        """Known strays, with their children, that are to be looked at again."""
        self._scan_at = 0.0

    @property
    def occupied(self) -> frozenset[SlotId]:
        """Slots held by a process that belongs to no worker."""
        return self.sockets & self._slots

    @property
    def sockets(self) -> frozenset[int]:
        """All sockets of strays: connections to them are not on their way to a worker."""
        return frozenset[int]().union(*(stray.sockets for stray in self._found.values()))

    # -- which worker they belong to ----------------------------------------------------------

    def look(self, trees: Trees, kill_after: float) -> None:
        """Put strays back into their worker's tree; end those without a worker that hold a slot."""
        now = time.monotonic()
        again = now >= self._look_at
        seen = set[int]().union(*(tree.process.seen() for tree in trees.values()))
        suspects = descent.orphans() - seen
        if again:
            self._look_at = now + LOOK_SECONDS
            suspects |= self._in_group(trees, seen)
            self._due = self._due or sorted(descent.below(self._found) - seen)
        new = descent.below(suspects - self._found.keys()) - seen - self._found.keys()
        due, self._due = self._due[:LOOK_AT_ONCE_MAX], self._due[LOOK_AT_ONCE_MAX:]
        for pid in [*sorted(new)[:LOOK_AT_ONCE_MAX], *due]:
            self._judge(pid, trees, ours=pid not in self._found or self._found[pid].ours)
        if again:
            for pid, stray in self._found.items():
                self._end_holder(pid, stray, trees, kill_after, now)

    def _in_group(self, trees: Trees, seen: set[int]) -> set[int]:
        """Processes that an earlier supervisor started: they are not our descendants."""
        if not control_group.is_ours():
            return set()
        new = set(control_group.members()) - seen - descent.HELPERS - {os.getpid()}
        return new and descent.all_of_ours().difference(
            *(tree.process.members() for tree in trees.values())
        )

    def _judge(self, pid: int, trees: Trees, *, ours: bool) -> None:
        traits = kin.traits(pid)
        if (
            traits is None
            or not is_alive(pid, traits.started)
            or self._is_relay(pid, traits.started)
        ):
            self._found.pop(pid, None)
            return
        worker = kin.owner(traits, {worker: own.marks for worker, own in trees.items()})
        if worker is None:
            self._keep(traits, ours=ours)
            return
        self._found.pop(pid, None)
        trees[worker].process.adopt(pid, traits.started)
        log.debug("process left its worker's tree", pid=pid, worker=str(worker))

    def _keep(self, traits: Traits, *, ours: bool) -> None:
        before = self._found.get(traits.pid)
        if before is not None and before.started == traits.started:
            before.sockets, before.ours = traits.sockets, before.ours or ours
            return
        self._found[traits.pid] = Stray(traits.started, traits.sockets, ours)
        held = len(traits.sockets & self._slots)
        (log.warning if held else log.info)(
            "process no longer belongs to any worker",
            pid=traits.pid,
            command=command_name(traits.pid),
            slots=held,
            then="ended when the instance stops" if not held else "its slots are not used",
        )

    def _end_holder(
        self, pid: int, stray: Stray, trees: Trees, kill_after: float, now: float
    ) -> None:
        """End a stray with a slot: it may take clients of the worker that gets the slot next."""
        slots = stray.sockets & self._slots
        shared = any(slots & own.marks.slots for own in trees.values())
        if not stray.ours or not slots or shared:
            return
        if stray.signalled_at is None:
            stray.signalled_at = now
            log.warning("ending a process that a worker left behind", pid=pid)
            pidfd.send(pid, stray.started, signal.SIGTERM)
        elif now - stray.signalled_at >= kill_after:
            pidfd.send(pid, stray.started, signal.SIGKILL)

    # -- other holders of our sockets ---------------------------------------------------------

    def scan_is_due(self) -> bool:
        return time.monotonic() >= self._scan_at

    def scan(self, known: frozenset[int]) -> set[int]:
        """Find all other processes that hold a slot. May run in a thread."""
        cpu = time.thread_time()
        found = descent.holding(self._slots, known)
        cost = time.thread_time() - cpu
        self._scan_at = time.monotonic() + max(SCAN_SECONDS, cost / SCAN_SHARE)
        return found

    def scanned(self, found: set[int], trees: Trees) -> None:
        """Process the result of a scan."""
        for pid in found.difference(*(tree.process.members() for tree in trees.values())):
            self._judge(pid, trees, ours=pid in self._found and self._found[pid].ours)

    # -- the end ------------------------------------------------------------------------------

    async def end(self, kill_after: float, progress: Callable[[], None]) -> None:
        """End every process that the workers left behind, after all workers have ended.

        Calls `progress` every second.
        """
        left = self._left()
        if not left:
            return
        log.warning("ending processes that workers left behind", pids=sorted(left))
        for number, patience in ((signal.SIGTERM, kill_after), (signal.SIGKILL, KILLED_WITHIN)):
            until = time.monotonic() + patience
            for pid, started in left.items():
                pidfd.send(pid, started, number)
            report_at = 0.0
            while (now := time.monotonic()) < until:
                left = self._left()
                if not left:
                    return
                if now >= report_at:
                    report_at = now + LOOK_SECONDS
                    progress()
                await asyncio.sleep(END_LOOK_SECONDS)

    def _left(self) -> dict[int, int]:
        own = descent.all_of_ours() | {pid for pid, stray in self._found.items() if stray.ours}
        found = {pid: start_time(pid) for pid in own}
        return {
            pid: started
            for pid, started in found.items()
            if started is not None and is_alive(pid, started)
        }
