"""Which directory on the way to a path denies this user access, and what to do about it."""

import errno
import os
import pwd
import stat
from pathlib import Path

HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= hides."""


def advice(path: str | Path, error: OSError) -> str:
    """Return why a path cannot be examined; for EACCES with what to do."""
    reason = error.strerror or str(error)
    if error.errno != errno.EACCES:
        return reason
    found = _barrier(Path(path))
    if found is None:
        return reason
    user = _user(os.geteuid())
    try:
        status = found.stat()
        mode = f" ({stat.filemode(status.st_mode)} of {_user(status.st_uid)})"
    except OSError:
        mode = ""
    return (
        f"{reason}: user {user} may not enter {found}{mode}. Install releases elsewhere, such as in"
        f" /srv, give the user access (setfacl -m u:{user}:x {found}), or run the instance as"
        " another user"
    )


def hidden_home(path: str | Path) -> str:
    """A hint for a path that does not exist because the sandbox hides homes; empty otherwise."""
    home = next((one for one in HOMES if Path(one) in Path(path).absolute().parents), None)
    if home is None or not _is_tmpfs(home):
        return ""
    return (
        f"; {home} is hidden from this service (ProtectHome=tmpfs). Set ProtectHome=read-only in"
        " [Service] of its drop-in, and restart it"
    )


def _is_tmpfs(place: str) -> bool:
    """Whether it is mounted as ProtectHome=tmpfs does: empty and read-only."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    mounts = [(head.split(), tail.split()) for head, _, tail in (x.partition(" - ") for x in lines)]
    return any(
        head[4] == place and tail[0] == "tmpfs" and "ro" in head[5].split(",")
        for head, tail in mounts
    )


def _barrier(path: Path) -> Path | None:
    """The topmost directory above the path that we may not search."""
    for directory in reversed(path.absolute().parents):
        if not os.access(directory, os.X_OK, effective_ids=True):
            return directory
    return None


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
