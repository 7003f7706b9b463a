"""Which processes are ours: by descent, by our control group, and by what they still have of us.

A process may change its name, its environment and its session, and close what it has inherited. As
long as we live it stays a descendant of ours: we are the subreaper of all that workers start. After
a supervisor's death it stays in the control group, where systemd made one for us. And whoever holds
a listening socket of ours is to be reckoned with, wherever it came from.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from wssupervisor.fleet.model import SlotId, WorkerId
from wssupervisor.runtime.kernel.procfs import (
    environment,
    open_inodes,
    start_time,
)

IDENTITY = (
    "WSSUPERVISOR_GENERATION",
    "WSSUPERVISOR_WORKER",
    "WSSUPERVISOR_INCARNATION",
    "WSSUPERVISOR_INSTANCE",
    "WSSUPERVISOR_SUPERVISOR",
)
"""Variables that a worker's processes carry, with values that no other worker's have."""
STARTER = IDENTITY.index("WSSUPERVISOR_SUPERVISOR")


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
        named = any(own.identity) and one.identity == own.identity
        if named or one.session == own.main or own.pipe in one.pipes:
            return worker
    found = {worker for worker, own in marks.items() if own.slots & one.sockets}
    return found.pop() if len(found) == 1 else None
