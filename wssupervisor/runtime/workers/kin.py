"""Which processes are ours: by descent, by our control group, and by what they still have of us.

A process may change its name, its environment and its session, and close what it has inherited. As
long as we live it stays a descendant of ours: we are the subreaper of all that workers start. After
a supervisor's death it stays in the control group, where systemd made one for us. And whoever holds
a listening socket of ours is to be reckoned with, wherever it came from.
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from wssupervisor.fleet.model import SlotId, WorkerId
from wssupervisor.runtime.kernel import control_group
from wssupervisor.runtime.listeners.holders import (
    GONE,
    environment,
    open_inodes,
    parent_of,
    pids,
    start_time,
)

HELPERS: set[int] = set()
"""Living helpers of ours: how each ended is asked for by whoever started it."""
IDENTITY = (
    "WSSUPERVISOR_GENERATION",
    "WSSUPERVISOR_WORKER",
    "WSSUPERVISOR_INCARNATION",
    "WSSUPERVISOR_INSTANCE",
    "WSSUPERVISOR_SUPERVISOR",
)
"""Variables that a worker's processes carry, with values that no other worker's have."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a process that left its worker's tree may still have of it."""

    main: int
    """The tree's session, too."""
    identity: tuple[str, ...]
    pipe: int
    """Inode of its output; 0 where it has none."""
    slots: frozenset[SlotId]


@dataclass(frozen=True, slots=True)
class Traits:
    """One process as it was seen; `started` is its identity, with the pid."""

    pid: int
    started: int
    session: int
    identity: tuple[str, ...]
    sockets: frozenset[int]
    pipes: frozenset[int]


def identity_in(variables: Mapping[str, str]) -> tuple[str, ...]:
    """Whose process has this environment."""
    return tuple(variables.get(name, "") for name in IDENTITY)


def traits(pid: int) -> Traits | None:
    """None when it has gone."""
    started = start_time(pid)
    if started is None:
        return None
    try:
        session = os.getsid(pid)
    except OSError:
        session = 0
    sockets, pipes = open_inodes(pid)
    identity = identity_in(environment(pid))
    return Traits(pid, started, session, identity, frozenset(sockets), frozenset(pipes))


def owner(one: Traits, marks: Mapping[WorkerId, Marks]) -> WorkerId | None:
    """Whose tree it has left; by a slot only where one worker alone has that."""
    for worker, own in marks.items():
        # The format of a state file allows for fewer variables.
        named = any(own.identity) and one.identity[: len(own.identity)] == own.identity
        if named or one.session == own.main or own.pipe in one.pipes:
            return worker
    found = {worker for worker, own in marks.items() if own.slots & one.sockets}
    return found.pop() if len(found) == 1 else None


def ancestors() -> frozenset[int]:
    """Of this process, and itself: systemd for one holds the sockets of units."""
    found, pid = {1}, os.getpid()
    while pid and pid not in found:
        found.add(pid)
        pid = parent_of(pid) or 0
    return frozenset(found)


def children(pid: int) -> set[int]:
    """Children of all the process's threads (CONFIG_PROC_CHILDREN, in every Debian kernel)."""
    return {child for line in _children_lines(pid) for child in map(int, line.split())}


def _children_lines(pid: int) -> Iterator[str]:
    directory = f"/proc/{pid}/task"
    try:
        tasks = os.listdir(directory)  # noqa: PTH208 - a third of pathlib's cost
    except GONE:
        return
    for task in tasks:
        with contextlib.suppress(*GONE), open(f"{directory}/{task}/children") as file:  # noqa: PTH123
            yield file.read()


def below(pids_: Iterable[int]) -> set[int]:
    """These processes, and all that descend from them."""
    found = set(pids_)
    todo = list(found)
    while todo:
        new = children(todo.pop()) - found
        found |= new
        todo += new
    return found


def orphans() -> set[int]:
    """Our children but for helpers: main processes of workers, and what they have left to us."""
    return children(os.getpid()) - HELPERS


def left_by_earlier_runs() -> set[int]:
    """At a start: what is in our control group, if systemd made it for us, was left there."""
    if not control_group.is_ours():
        return set()
    return control_group.of_workers() - ancestors() - below({os.getpid()})


def all_of_ours() -> set[int]:
    """All processes of workers, helpers left out, that descent or the control group shows."""
    own = below(orphans())
    if control_group.is_ours():
        own |= control_group.of_workers() - below(HELPERS) - ancestors()
    return own


def holding(inodes: frozenset[int], but: Iterable[int] = ()) -> set[int]:
    """Those of any process that hold one of these sockets, as far as this user may look.

    Our own are left out, and our ancestors, who may have given us the sockets.
    """
    others = set(pids()).difference(but, ancestors(), HELPERS)
    return {pid for pid in others if not inodes.isdisjoint(open_inodes(pid)[0])}


def send(pid: int, started: int | None, number: int) -> None:
    """Signal a process, unless its pid is another one's by now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        pidfd = os.pidfd_open(pid)
        try:
            if started is not None and start_time(pid) == started:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)
