"""The control socket as a file: made with its mode, known again, missed when it is swept away."""

import contextlib
import os
import socket
import stat
from pathlib import Path

from wssupervisor.errors import ListenFailed

MODE = 0o660
BACKLOG = 100

Identity = tuple[int, int]
"""Device and inode."""


def identity(path: str) -> Identity | None:
    """Of what is there now; None for nothing. Raises OSError."""
    try:
        found = Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def bind(sock: socket.socket, path: str, mode: int) -> None:
    """With this mode from its first moment: chmod would follow what is at the path by then.

    Raises OSError.
    """
    os.fchmod(sock.fileno(), mode)  # a file that is bound has that of its socket, less the umask
    mask = os.umask(0o777 & ~mode)
    try:
        sock.bind(path)
    finally:
        os.umask(mask)


def bound(path: str) -> socket.socket:
    """Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        bind(sock, path, MODE)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def refuse_other_files(path: str) -> None:
    """Raises ListenFailed for what is not a socket: it is not ours to replace."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise ListenFailed(
                f"{path} is there already and is not a socket; remove it, or choose another name"
                " in that directory with --control PATH"
            )


def replace_stale(path: str) -> None:
    """Remove a socket that nobody listens on. Raises ListenFailed where somebody does, OSError."""
    refuse_other_files(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            Path(path).unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    raise ListenFailed(f"another process listens on {path} by now")
