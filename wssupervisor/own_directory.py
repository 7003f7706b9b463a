"""A directory that only this user may write, and the files in it that decide something.

A file decides by what it is, not by its name: it is regular, ours, and lies where nobody else could
have put it. Everything is opened below the directory's own descriptor, so that a directory that is
exchanged after the check is not the one that is used.
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
    """Holds nothing open: it may be swept away, and made again.

    `makes`: it is made, below a directory that is there, when a file is to be made in it.
    """

    def __init__(self, path: str | Path, *, makes: bool = False) -> None:
        self.path = Path(path)
        self._makes = makes

    @contextmanager
    def entered(self, *, make: bool = False) -> Iterator[int]:
        """Its descriptor. Raises OSError, also if other users may write in it."""
        made = False
        if make:
            with suppress(FileExistsError):  # whose it is, is looked at below
                self.path.mkdir(MODE)
                made = True
        descriptor = os.open(self.path, _DIRECTORY)
        try:
            _refuse_foreign(os.fstat(descriptor), "the directory")
            if made:
                os.fchmod(descriptor, MODE)  # the umask is for what workers make
            yield descriptor
        finally:
            os.close(descriptor)

    def open(self, name: str, flags: int, mode: int) -> int:
        """A regular file of ours, owned by the caller. Raises OSError."""
        with self.entered(make=self._makes and bool(flags & os.O_CREAT)) as directory:
            descriptor = files.open_regular(name, flags | _IN, mode, dir_fd=directory)
        try:
            found = os.fstat(descriptor)
            _refuse_foreign(found, "the file")
            if flags & os.O_CREAT and stat.S_IMODE(found.st_mode) != mode:
                os.fchmod(descriptor, mode)  # the umask is for what workers make
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name: str, most: int) -> bytes:
        """What one of them says. Raises OSError, also if that is more than `most` bytes."""
        descriptor = self.open(name, os.O_RDONLY, 0)
        try:
            return files.read_whole(descriptor, most)
        finally:
            os.close(descriptor)

    def read_end(self, name: str, most: int) -> bytes:
        """The same of one that may be larger: its last bytes. Raises OSError."""
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
        """Those that are there. Raises OSError."""
        with self.entered() as directory:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)


def _refuse_foreign(found: os.stat_result, what: str) -> None:
    """Raises PermissionError."""
    if found.st_uid != os.geteuid():
        raise PermissionError(EPERM, f"{what} belongs to another user (uid {found.st_uid})")
    if found.st_mode & OTHERS_WRITE:
        raise PermissionError(EPERM, f"other users may write {what}")
