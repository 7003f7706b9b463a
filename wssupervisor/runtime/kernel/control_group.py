"""The processes of our own control group, including those that /proc hides from us."""

import os
import pwd
from pathlib import Path

from wssupervisor.errors import ListenFailed
from wssupervisor.runtime.kernel.procfs import environment, parent_of, start_time

ROOT = Path("/sys/fs/cgroup")
EXECUTED = "SYSTEMD_EXEC_PID"
"""Variable that systemd gives to each process that it executes: its own pid (systemd.exec(5))."""
UNSEEN = 0
"""What cgroup.procs has instead of a pid for a process outside of our pid namespace."""


def text_of(pid: int) -> str:
    """The control groups of a process, as /proc has them: equal for two of one group.

    Raises OSError.
    """
    return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")


def members() -> list[int]:
    """Return all pids in the group; empty without a unified hierarchy to read them from."""
    try:
        lines = text_of(os.getpid()).splitlines()
        own = next((line[3:] for line in lines if line.startswith("0::")), None)
        if own is None:
            return []
        text = (ROOT / own.lstrip("/") / "cgroup.procs").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(pid) for pid in text.split()]


def is_ours() -> bool:
    """Whether systemd made the group for this process: all else in it is ours or an earlier run's.

    Elsewhere the control group may be a login session's or a container's.
    """
    return os.environ.get(EXECUTED) == str(os.getpid()) and "INVOCATION_ID" in os.environ


def of_workers() -> set[int]:
    """Its visible members, without what systemd itself starts for the unit (ExecReload=)."""
    own = set(members()) - {UNSEEN}
    started = {
        pid for pid in own if pid != os.getpid() and environment(pid).get(EXECUTED) == str(pid)
    }
    return {pid for pid in own if started.isdisjoint(_line(pid, own))}


def _line(pid: int, within: set[int]) -> list[int]:
    """Return the process and its ancestors within `within`, the process first."""
    found: list[int] = []
    while pid in within and pid not in found:
        found.append(pid)
        pid = parent_of(pid) or 0
    return found


def beyond_reach() -> list[int]:
    """Living members that this process may not signal or cannot see."""
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
    """Refuse to start beside living workers that this process can neither watch nor stop.

    `user`: the uid that their supervisor ran as, if it is known. Raises ListenFailed.
    """
    pids = beyond_reach()
    if not pids:
        return
    seen = " ".join(str(pid) for pid in sorted(pids) if pid != UNSEEN)
    which = f" (pids {seen})" if seen else ""
    other = user is not None and user != os.geteuid()
    theirs = f" as user {_name(user)}" if other else ""
    raise ListenFailed(
        f"workers of the previous supervisor still run{theirs}{which}, and this supervisor cannot"
        f" supervise them as user {_name(os.geteuid())}: User=, Group= or the sandbox has changed."
        " To keep them, undo that change and run systemctl daemon-reload; the next automatic"
        " restart adopts them. To end them, with their connections: systemctl restart"
        f" wssupervisor@{instance}.service"
    )


def _name(user: int | None) -> str:
    try:
        return str(user) if user is None else pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
