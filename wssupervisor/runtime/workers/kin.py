"""Which processes are ours: by descent, by control group, and by what they have inherited.

A process may change its name, its environment and its session, and close what it has inherited. As
long as the supervisor lives, the process stays its descendant: the supervisor is the subreaper of
everything that workers start. After a supervisor's death the process stays in the control group, if
systemd made one for the instance. Any process that holds one of our listening sockets counts, no
matter how it got it.
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
    """What a process that left its worker's tree may still share with that tree."""

    main: int
    """Pid of the main process, and id of the tree's session."""
    identity: tuple[str, ...]
    pipe: int
    """Inode of its output; 0 if it has none."""
    slots: frozenset[SlotId]


@dataclass(frozen=True, slots=True)
class Traits:
    """A process at one moment; pid and `started` together identify it."""

    pid: int
    started: int
    session: int
    identity: tuple[str, ...]
    sockets: frozenset[int]
    pipes: frozenset[int]


def identity_in(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The values of IDENTITY in this environment, which name a worker."""
    return tuple(variables.get(name, "") for name in IDENTITY)


def traits(pid: int) -> Traits | None:
    """The traits of a process; None if it has ended."""
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


def owner(process: Traits, marks: Mapping[WorkerId, Marks]) -> WorkerId | None:
    """Return the worker whose tree a process has left; a slot counts only if one worker has it."""
    for worker, own in marks.items():
        named = any(own.identity) and process.identity == own.identity
        if named or process.session == own.main or own.pipe in process.pipes:
            return worker
    found = {worker for worker, own in marks.items() if own.slots & process.sockets}
    return found.pop() if len(found) == 1 else None
