"""Whether only this user, and root, may decide what lies in a directory.

What lies beside a control socket is believed at the next start (the state of a supervisor that
died names programs to run), so others must be able neither to write there nor to exchange the
directory, or one above it.
"""

import os
import stat
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def danger(directory: str | Path) -> str | None:
    """Who else may write there, as a clause; None for a safe one. Raises OSError."""
    written = Path(os.path.abspath(directory))  # noqa: PTH100 - not resolved
    own = written.resolve()
    found = own.stat()
    if found.st_uid != os.geteuid():
        return f"{own} belongs to another user (uid {found.st_uid})"
    if found.st_mode & OTHERS_WRITE:
        return f"other users may write in {own} (mode {stat.S_IMODE(found.st_mode):04o})"
    return next((why for one in (written, *written.parents) if (why := _above(one))), None)


def _above(path: Path) -> str | None:
    """The same of one part of the way: a link in it, and all directories that it leads through."""
    link = path.lstat()
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid()):
        return f"the link {path} belongs to another user (uid {link.st_uid})"
    for one in path.resolve().parents:
        found = one.stat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{one} belongs to another user (uid {found.st_uid})"
        if found.st_mode & OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
            return f"other users may write in {one} (mode {stat.S_IMODE(found.st_mode):04o})"
    return None
