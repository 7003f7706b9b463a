"""A directory that only this user may write to, and the trusted files in it.

A file is trusted only if it is regular, ours, and in a directory where no other user could have put
it. Everything is opened relative to the directory's descriptor, so that a directory that is
replaced after the check is not used.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EPERM
from pathlib import Path

from wssupervisor import files

MODE = 0o750
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_IN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class OwnDirectory:
    """Keeps nothing open: the directory may be deleted and made again.

    `makes`: create the directory, below an existing one, when a file is created in it.
    """

    def __init__(self, path: str | Path, *, makes: bool = False) -> None:
        self.path = Path(path)
        self._makes = makes

    @contextmanager
    def entered(self, *, make: bool = False) -> Iterator[int]:
        """Open it, and yield its descriptor. Raises OSError, also if others may write to it."""
        made = False
        if make:
            with suppress(FileExistsError):  # the owner is checked below
                self.path.mkdir(MODE)
                made = True
        descriptor = os.open(self.path, _DIRECTORY)
        try:
            _refuse_foreign(os.fstat(descriptor), "the directory")
            if made:
                os.fchmod(descriptor, MODE)  # the umask is meant for files of workers
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, name: str, flags: int, mode: int) -> int:
        """Open our own regular file. The caller owns the descriptor. Raises OSError."""
        with self.entered(make=self._makes and bool(flags & os.O_CREAT)) as directory:
            descriptor = files.open_regular(name, flags | _IN, mode, dir_fd=directory)
        try:
            found = os.fstat(descriptor)
            _refuse_foreign(found, "the file")
            if flags & os.O_CREAT and stat.S_IMODE(found.st_mode) != mode:
                os.fchmod(descriptor, mode)  # the umask is meant for files of workers
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str, most: int) -> bytes:
        """Read a file. Raises OSError, also if it has more than `most` bytes."""
        descriptor = self.open(name, os.O_RDONLY, 0)
        try:
            return files.read_whole(descriptor, most)
        finally:
            os.close(descriptor)

    def read_end(self, name: str, most: int) -> bytes:
        """Read the last `most` bytes of a file. Raises OSError."""
        descriptor = self.open(name, os.O_RDONLY, 0)
        try:
            return files.read_end(descriptor, most)
        finally:
            os.close(descriptor)

    def replace(self, old: str, new: str) -> None:
        """Raises OSError."""
        with self.entered() as directory:
            os.replace(old, new, src_dir_fd=directory, dst_dir_fd=directory)

    def remove(self, *names: str) -> None:
        """Remove those that exist. Raises OSError."""
        with self.entered() as directory:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)


def _refuse_foreign(found: os.stat_result, what: str) -> None:
    """Raises PermissionError."""
    if found.st_uid != os.geteuid():
        raise PermissionError(EPERM, f"{what} belongs to another user (uid {found.st_uid})")
    if found.st_mode & OTHERS_WRITE:
        raise PermissionError(EPERM, f"other users may write to {what}")
