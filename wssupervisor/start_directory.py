"""The directory in which the daemon was started, for relative paths in its options and its file.

It is a name, read once. A deploy may remove the directory and make it again. The process itself
changes to /, so that it does not keep a release busy.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "WSSUPERVISOR_STARTED_IN"
"""For the program after an upgrade, which starts in / with the same arguments."""


def found() -> str:
    """Return the directory as the shell names it ($PWD), symlinks included.

    The directory may have been removed, and its name may be in use again, as after a deploy.
    """
    named = os.environ.get("PWD", "")
    try:
        here = str(Path.cwd())
        return named if Path(named).is_absolute() and Path(named).samefile(here) else here
    except OSError:
        if Path(named).is_absolute():
            return named
        return os.readlink("/proc/self/cwd").removesuffix(" (deleted)")  # noqa: PTH115


def leave(*, resumed: bool) -> str:
    """Change to / and return the start directory. `resumed`: of the program before us."""
    start = (os.environ.get(VARIABLE) if resumed else None) or found()
    os.environ[VARIABLE] = start
    os.chdir("/")
    return start


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """Change to the start directory for starting a program with our arguments."""
    with contextlib.suppress(OSError):
        os.chdir(os.environ.get(VARIABLE) or "/")
    try:
        yield
    finally:
        os.chdir("/")


def absolute(start: str, path: str) -> str:
    """Make a path absolute from `start`, if there is one. Symlinks are kept."""
    if not start:
        return path
    return start if path == "." else os.path.join(start, path)  # noqa: PTH118
