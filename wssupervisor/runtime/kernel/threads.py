"""Which sockets a worker's threads are blocked on (proc(5), /proc/PID/syscall).

The first argument of a system call that blocks on one socket is its descriptor, whatever the call
and the machine: read, recvfrom, recvmsg, write, sendto, accept. Of poll and futex it is an address
(docs/internals/platform.md#what-a-thread-waits-for).
"""

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress

SLEEPS = frozenset("SD")
"""States of a waiting thread. A stopped thread is in its system call, too, but does not wait."""


def waits_for(sockets: Mapping[int, Mapping[int, int]], inodes: AbstractSet[int]) -> bool:
    """Whether a thread of a tree is blocked on one of these sockets.

    `sockets`: pid -> inode -> descriptor. False if that cannot be seen: for a process of another
    user and, under Yama, for a process that does not descend from us, such as after a supervisor's
    death.
    """
    return any(
        _thread_waits(pid, thread, watched)
        for pid, own in sockets.items()
        if (watched := {number for inode, number in own.items() if inode in inodes})
        for thread in _threads(pid)
    )


def _threads(pid: int) -> list[str]:
    with suppress(OSError):
        return os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - a third of pathlib's cost
    return []


def _thread_waits(pid: int, thread: str, descriptors: AbstractSet[int]) -> bool:
    words = _read(f"/proc/{pid}/task/{thread}/syscall").split()
    if len(words) < 3 or int(words[1], 16) not in descriptors:
        return False
    return _read(f"/proc/{pid}/task/{thread}/stat").rpartition(")")[2].strip()[:1] in SLEEPS


def _read(path: str) -> str:
    with suppress(OSError), open(path) as file:  # noqa: PTH123
        return file.read()
    return ""
