"""The control socket as a file: made with its mode, recognized, and missed when deleted."""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wssupervisor.errors import ListenFailed

MODE = 0o660
BACKLOG = 100

Identity = tuple[int, int]
"""Device and inode."""


def identity(path: str) -> Identity | None:
    """Identify the file that is there now; None without one. Raises OSError."""
    try:
        found = Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


@contextmanager
def unix_socket(kind: int) -> Iterator[socket.socket]:
    """Yield a non-blocking AF_UNIX socket, closed again if the block raises. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def bind(sock: socket.socket, path: str, mode: int) -> None:
    """Bind with this mode from the first moment: chmod could hit another file at the path.

    Raises OSError.
    """
    os.fchmod(sock.fileno(), mode)  # the file gets the mode of its socket, minus the umask
    mask = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
    finally:
        os.umask(mask)


def bound(path: str) -> socket.socket:
    """Return a socket that listens at the path. Raises OSError."""
    with unix_socket(socket.SOCK_STREAM) as sock:
        bind(sock, path, MODE)
        sock.listen(BACKLOG)
    return sock


def refuse_other_files(path: str) -> None:
    """Raises ListenFailed if the path is not a socket, because it is not ours to replace."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise ListenFailed(
                f"{path} exists and is not a socket. Remove it, or choose another name in that"
                " directory with --control PATH"
            )


def replace_stale(path: str) -> None:
    """Remove a socket without a listener. Raises ListenFailed if it has one, and OSError."""
    refuse_other_files(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            Path(path).unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # its queue is full: a process listens
    raise ListenFailed(f"another process now listens on {path}")
