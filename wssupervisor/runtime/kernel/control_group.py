"""The processes of our own control group, also those that /proc does not show to us."""

import os
import pwd
from pathlib import Path

from wssupervisor.errors import ListenFailed
from wssupervisor.runtime.kernel.procfs import environment, parent_of, start_time

ROOT = Path("/sys/fs/cgroup")
EXECUTED = "SYSTEMD_EXEC_PID"
"""In the environment of what systemd executes: its own pid (systemd.exec(5))."""
UNSEEN = 0
"""Instead of its pid, for a process outside of our pid namespace."""


def members() -> list[int]:
    """All of them; none where there is no unified hierarchy to read them from."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        own = next((line[3:] for line in lines if line.startswith("0::")), None)
        if own is None:
            return []
        text = (ROOT / own.lstrip("/") / "cgroup.procs").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(pid) for pid in text.split()]


def is_ours() -> bool:
    """systemd made it for this very process: what else is in it came from us or earlier runs.

    Elsewhere the control group may be a login session's or a container's.
    """
    return os.environ.get(EXECUTED) == str(os.getpid()) and "INVOCATION_ID" in os.environ


def of_workers() -> set[int]:
    """Its visible members, less what systemd has started for the unit beside us (ExecReload=)."""
    own = set(members()) - {UNSEEN}
    started = {
        pid for pid in own if pid != os.getpid() and environment(pid).get(EXECUTED) == str(pid)
    }
    return {pid for pid in own if started.isdisjoint(_line(pid, own))}


def _line(pid: int, within: set[int]) -> list[int]:
    """The process, its parent, and so on."""
    found: list[int] = []
    while pid in within and pid not in found:
        found.append(pid)
        pid = parent_of(pid) or 0
    return found


def beyond_reach() -> list[int]:
    """Living ones that this process may not signal, or cannot see."""
    return [pid for pid in members() if not _in_reach(pid)]


def _in_reach(pid: int) -> bool:
    if pid == UNSEEN:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True  # ended meanwhile
    except PermissionError:
        return False
    return start_time(pid) is not None or not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def refuse_beyond_reach(instance: str, user: int | None) -> None:
    """A supervisor that can neither end nor watch living workers must not start beside them.

    `user` is the one that their supervisor ran as, where that is known. Raises ListenFailed.
    """
    pids = beyond_reach()
    if not pids:
        return
    seen = " ".join(str(pid) for pid in sorted(pids) if pid != UNSEEN)
    which = f" (pids {seen})" if seen else ""
    other = user is not None and user != os.geteuid()
    theirs = f" as user {_name(user)}" if other else ""
    raise ListenFailed(
        f"workers of the supervisor before this one still serve{theirs}{which}, and this one cannot"
        f" supervise them as user {_name(os.geteuid())}: User=, Group= or the sandbox was changed"
        " under them. To keep them, undo that and run systemctl daemon-reload; the next automatic"
        " restart takes them over. To end them, with their connections: systemctl restart"
        f" wssupervisor@{instance}.service"
    )


def _name(user: int | None) -> str:
    try:
        return str(user) if user is None else pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
