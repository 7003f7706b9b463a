"""A lock file beside a path. Its holder may replace what a dead daemon left at the path."""

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Self

CLAIMS_MAX = 10
"""How often the file may vanish while we claim it, each time with a daemon that just ended."""


class Held(Exception):
    """Another process has the lock. `owner`: the pid that it wrote, or "unknown"."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


class LockFile:
    """Owns the descriptor. `release` removes the file."""

    def __init__(self, path: str, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def claim(cls, path: str) -> Self:
        """Take the lock of this path. Raises Held, OSError."""
        name = f"{path}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        for _ in range(CLAIMS_MAX):
            lock = os.open(name, flags, 0o600)
            _refuse_foreign(lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
                os.close(lock)
                raise Held(owner if owner.isdecimal() else "unknown") from None
            # A daemon that ends removes its file: a lock on the removed file keeps no daemon out.
            if _is_at(lock, name):
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
                return cls(name, lock)
            os.close(lock)
        raise OSError(errno.EAGAIN, "other daemons keep starting and stopping there")

    @classmethod
    def held(cls, path: str, descriptor: int) -> Self:
        """Return a lock that this process, or the program before an upgrade, has claimed."""
        return cls(f"{path}.lock", descriptor)

    def is_there(self) -> bool:
        """Whether it still keeps others out: the file at the path is ours. Raises OSError."""
        return _is_at(self._descriptor, self._path)

    def abandon(self) -> None:
        """Close a lock whose file is gone, or belongs to another daemon by now."""
        os.close(self._descriptor)

    def fileno(self) -> int:
        return self._descriptor

    def release(self) -> None:
        if self.is_there():
            Path(self._path).unlink(missing_ok=True)
        os.close(self._descriptor)


def _refuse_foreign(lock: int) -> None:
    """Close the lock and raise OSError if the file is not ours: its owner could hold it forever."""
    found = os.fstat(lock)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(lock)
        raise OSError(errno.EPERM, "its lock file is not a regular file of this user. Remove it")


def _is_at(descriptor: int, path: str) -> bool:
    """Whether the open file is still the file at that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), Path(path).lstat())
    except (FileNotFoundError, NotADirectoryError):
        return False
