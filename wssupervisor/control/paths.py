"""The path of an instance's control socket, on which the daemon and wssctl must agree."""

import contextlib
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from wssupervisor.control.safe_place import danger
from wssupervisor.errors import ListenFailed

SOCKET = "control.sock"
SYSTEM = Path("/run/wssupervisor")
STATE = Path("/var/lib/wssupervisor")
"""Contains the state directories of instances under systemd (StateDirectory=)."""
OWN = "supervisor"
"""The directory for the daemon alone, inside a state directory that workers may write to."""
SYSTEMD = Path("/run/systemd/system")
"""Exists if systemd is the init system, see sd_booted(3)."""


SAFE_PLACE = (
    "Leave --control out, or give it a path in a directory that only this user may write to, below"
    " directories that no other user may write to (mkdir -m 700 DIRECTORY)"
)


class Reach(IntEnum):
    """The result of connecting to a control socket, best first."""

    ANSWERS = 0
    BARRED = 1
    DEAD = 2


@dataclass(frozen=True, slots=True)
class Found:
    name: str
    path: str
    reach: Reach


def _private() -> Path:
    """This user's directory in the temporary directory, used without a runtime directory."""
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # no writable one, so we have no socket there
        temporary = "/tmp"  # noqa: S108
    return Path(temporary, f"wssupervisor-{os.geteuid()}")


def systemd_runs() -> bool:
    return SYSTEMD.is_dir()


def roots() -> list[Path]:
    """Every directory that may contain instances; first the one for a new daemon of this user."""
    found = []
    if os.geteuid() == 0:
        found.append(SYSTEM)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime, "wssupervisor"))
    found.append(_private())
    if SYSTEM not in found:
        found.append(SYSTEM)
    return found


def daemon_path(name: str) -> str:
    """Return the path on which a daemon of this name listens. RuntimeDirectory= comes first."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return str(Path(given.split(":")[0], SOCKET))
    return str(roots()[0] / name / SOCKET)


def make_directory(directory: Path) -> bool:
    """Make the directory of the socket. True if it was missing. Raises OSError, ListenFailed."""
    private = _private()
    if private in (directory, *directory.parents):
        private.mkdir(mode=0o700, exist_ok=True)
        # Any user can make a directory of that name first, and would own everything below it.
        if not _is_ours(private):
            raise ListenFailed(f"the directory {private} belongs to another user. {SAFE_PLACE}")
        _set_mode(private, 0o700)
    made = _make(directory)
    if (why := danger(directory, private=private)) is not None:
        raise ListenFailed(
            f"the control socket cannot lie in {directory}: {why}, and the files beside the socket"
            f" decide what runs at the next start. {SAFE_PLACE}"
        )
    return made


def _make(directory: Path, mode: int = 0o750) -> bool:
    """Make a directory with its parents, none of them writable for other users under any umask."""
    if directory.is_dir():
        return False
    _make(directory.parent, 0o755)
    directory.mkdir(mode)
    return True


def let_pass(directory: Path) -> None:
    """As root: let a worker that becomes another user reach the files that it may use in there.

    Opens only our own directories, and only for passing through: each file in them has its own
    mode, and the directories cannot be listed.
    """
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    own = [*roots(), *([Path(given)] if given else [])]
    for parent in (directory, *directory.parents):
        if not any(root in (parent, *parent.parents) for root in own):
            return
        with contextlib.suppress(OSError):
            mode = stat.S_IMODE(parent.stat().st_mode)
            if _is_ours(parent) and not mode & stat.S_IXOTH:
                _set_mode(parent, mode | stat.S_IXOTH)


def _set_mode(directory: Path, mode: int) -> None:
    """Change the mode of our own directory; its path may lead elsewhere by now. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _is_ours(directory: Path) -> bool:
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def instances() -> list[Found]:
    """Return every instance, running or not, that has a socket in one of the roots."""
    found = []
    for root in roots():
        if root == _private() and not _is_ours(root):
            continue
        try:
            names = sorted(os.listdir(root))  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            path = str(root / name / SOCKET)
            reach = _reach(path)
            if reach is not None:
                found.append(Found(name, path, reach))
    return found


def running() -> dict[str, str]:
    """Return names and sockets of instances that answer; if none does, those we may not ask."""
    found = instances()
    for reach in (Reach.ANSWERS, Reach.BARRED):
        chosen: dict[str, str] = {}
        for one in found:
            if one.reach is reach:
                chosen.setdefault(one.name, one.path)
        if chosen:
            return chosen
    return {}


def _reach(path: str) -> Reach | None:
    """Connect to find out whether a daemon listens: a killed one leaves its socket behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except BlockingIOError:
            return Reach.ANSWERS  # its queue is full
        except PermissionError:
            return Reach.BARRED
        except ConnectionRefusedError:
            return Reach.DEAD
        except OSError:
            return None
    return Reach.ANSWERS
