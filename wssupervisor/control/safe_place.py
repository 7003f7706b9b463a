"""Checks that only this user and root control the content of a directory.

The next start trusts the files beside a control socket: the state of a dead supervisor names
programs to run. So other users must not be able to write there, or to replace the directory or one
above it.
"""

import os
import stat
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def danger(directory: str | Path, *, private: Path | None = None) -> str | None:
    """Return why others may write there, as a clause; None if it is safe. Raises OSError.

    `private`: a directory above it that the caller knows to be ours and closed to others. The
    directories above that are not checked: the temporary directory of a container often lacks the
    sticky bit.
    """
    written = Path(os.path.abspath(directory))  # noqa: PTH100 - not resolved
    way = (written, *written.parents)
    if private in way:
        return next((why for one in way[: way.index(private)] if (why := _in(one))), None)
    return _in(written.resolve()) or next((why for one in way if (why := _above(one))), None)


def _in(own: Path) -> str | None:
    """Check the directory itself, without following links."""
    found = own.lstat()
    if found.st_uid != os.geteuid():
        return f"{own} belongs to another user (uid {found.st_uid})"
    if not stat.S_ISDIR(found.st_mode):
        return f"{own} is not a directory"
    if found.st_mode & OTHERS_WRITE:
        return f"other users may write to {own} (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


def _above(path: Path) -> str | None:
    """Check one part of the path: if it is a link, and all directories that lead to it."""
    link = path.lstat()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid()):
        return f"the link {path} belongs to another user (uid {link.st_uid})"
    for parent in path.resolve().parents:
        found = parent.stat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{parent} belongs to another user (uid {found.st_uid})"
        if found.st_mode & OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
            return f"other users may write to {parent} (mode {stat.S_IMODE(found.st_mode):04o})"
    return None
