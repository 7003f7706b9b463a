"""Where the daemon was started: what relative paths of its options and its file start from.

It is a name, taken once. The directory of that name may be removed and made again by a deploy; the
process itself stands in / from then on, so that it neither keeps a release busy nor loses its way.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "WSSUPERVISOR_STARTED_IN"
"""For the program after us, which starts in / and has the same arguments."""


def found() -> str:
    """The directory as the shell names it ($PWD), symlinks included.

    It may be gone, removed under the shell; its name may be in use again, as after a deploy.
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
    """Go to /, and say where we were; `resumed`: where the program before us was started."""
    start = (os.environ.get(VARIABLE) if resumed else None) or found()
    os.environ[VARIABLE] = start
    os.chdir("/")
    return start


@contextlib.contextmanager
def entered() -> Iterator[None]:
    """Stand there as long as it takes to start a program by the arguments that we were given."""
    with contextlib.suppress(OSError):
        os.chdir(os.environ.get(VARIABLE) or "/")
    try:
        yield
    finally:
        os.chdir("/")


def absolute(start: str, path: str) -> str:
    """A path as its author meant it; with no `start` as it stands. Symlinks stay."""
    if not start:
        return path
    return start if path == "." else os.path.join(start, path)  # noqa: PTH118
