"""Which processes are ours: by descent, and by the control group that systemd made for us."""

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator

from wssupervisor.runtime.kernel import control_group
from wssupervisor.runtime.kernel.procfs import GONE, open_inodes, parent_of, pids

PR_SET_CHILD_SUBREAPER = 36

HELPERS: set[int] = set()
"""Pids of our living helper processes; the code that started one reaps it."""


def ancestors() -> frozenset[int]:
    """This process and its ancestors. systemd, for example, holds the sockets of units."""
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
    """These processes and all their descendants."""
    found = set(pids_)
    todo = list(found)
    while todo:
        new = children(todo.pop()) - found
        found |= new
        todo += new
    return found


def orphans() -> set[int]:
    """Our children except helpers: main processes of workers, and what workers left to us."""
    return children(os.getpid()) - HELPERS


def left_by_earlier_runs() -> set[int]:
    """At a start: processes of earlier runs in our control group, if systemd made it for us."""
    if not control_group.is_ours():
        return set()
    return control_group.of_workers() - ancestors() - below({os.getpid()})


def all_of_ours() -> set[int]:
    """All processes of workers that descent or the control group shows, without helpers."""
    own = below(orphans())
    if control_group.is_ours():
        own |= control_group.of_workers() - below(HELPERS) - ancestors()
    return own


def holding(inodes: frozenset[int], but: Iterable[int] = ()) -> set[int]:
    """Pids that hold one of these sockets, as far as this user may look.

    We and our ancestors, which may have passed us the sockets, are not among them.
    """
    others = set(pids()).difference(but, ancestors(), HELPERS)
    return {pid for pid in others if not inodes.isdisjoint(open_inodes(pid)[0])}


def become_subreaper() -> None:
    """Make processes that a worker leaves behind our children, so that we see and reap them.

    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap_orphans(own: frozenset[int]) -> None:
    """Reap ended children that are no worker's main process."""
    for pid in children(os.getpid()) - own - HELPERS:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
