"""What /proc shows of a process: when it started, what it holds, whether it still runs."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
"""A process has ended, or we may not look into it. Any other failure proves nothing: without a free
descriptor all processes would seem to have ended, and their connections with them."""
DEAD = {"Z", "X"}
"""States of a process that has ended and has not been reaped."""


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid, its identity."""
    found = _stat(pid)
    return None if found is None else int(found[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether the process with this start time exists and is not a zombie."""
    found = _stat(pid)
    return found is not None and int(found[19]) == started and found[0] not in DEAD


def parent_of(pid: int) -> int | None:
    found = _stat(pid)
    return None if found is None else int(found[1])


def status_of_zombie(pid: int) -> int | None:
    """The wait status of an ended process that has not been reaped (proc_pid_stat(5)).

    None for others, and if we may not look: the kernel would show 0.
    """
    try:
        ours = os.geteuid() in (0, Path(f"/proc/{pid}").stat().st_uid)
    except OSError:
        return None
    found = _stat(pid)
    return int(found[49]) if ours and found is not None and found[0] in DEAD else None


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; None when there is no such process.

    Raises OSError if we cannot look now.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except GONE:
        return None
    return text.rpartition(")")[2].split()


def pids() -> list[int]:
    """All visible processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208


def links(pid: int) -> Iterator[tuple[str, str]]:
    """The process's descriptors (number, link target); nothing if we may not look.

    Raises OSError if we cannot look now.
    """
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)  # noqa: PTH208 - a third of pathlib's cost
    except GONE:
        return
    for name in names:
        try:
            yield name, os.readlink(f"{directory}/{name}")  # noqa: PTH115
        except GONE:
            continue


def may_look(pid: int) -> bool:
    """Whether this user may see which descriptors a process has; one that has ended has none."""
    directory = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(directory):  # noqa: PTH208 - as above
            with contextlib.suppress(FileNotFoundError):
                os.readlink(f"{directory}/{name}")  # noqa: PTH115
                return True
    except PermissionError:
        return False
    except OSError:
        pass
    return True


def socket_inodes(pid: int) -> set[int]:
    """Inodes of all sockets that one process holds."""
    return {int(link[8:-1]) for _, link in links(pid) if link.startswith("socket:[")}


def open_inodes(pid: int) -> tuple[set[int], set[int]]:
    """Inodes of the sockets and of the pipes that one process holds."""
    sockets, pipes = set[int](), set[int]()
    for _, link in links(pid):
        kind, _, inode = link.partition(":[")
        if kind == "socket":
            sockets.add(int(inode[:-1]))
        elif kind == "pipe":
            pipes.add(int(inode[:-1]))
    return sockets, pipes


def socket_descriptors(pid: int) -> dict[int, int]:
    """Inodes of all sockets that one process holds, each with one of its descriptors."""
    return {int(link[8:-1]): int(name) for name, link in links(pid) if link.startswith("socket:[")}


def command_name(pid: int) -> str:
    """Return the process's name as ps shows it; empty if the process has ended."""
    try:
        text = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "".join(char for char in text.strip() if char.isprintable())


def socket_descriptor(pid: int, inode: int) -> int | None:
    """The number under which the process holds a socket; None if it does not."""
    link = f"socket:[{inode}]"
    return next((int(name) for name, found in links(pid) if found == link), None)


def descriptors_named(pid: int, link: str) -> list[str]:
    """Paths that reopen what the process has open under this name."""
    return [f"/proc/{pid}/fd/{name}" for name, found in links(pid) if found == link]


def environment(pid: int) -> dict[str, str]:
    """The variables that the process was started with; empty if we may not look.

    Raises OSError if we cannot look now.
    """
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except GONE:
        return {}
    pairs = (part.partition(b"=") for part in data.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
