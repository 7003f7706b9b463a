"""Foreign files, opened without waiting and read up to a maximum size.

A FIFO would block its reader, a device never ends, and a link may lead to an unintended file.
"""

import os
import stat
from errno import EFBIG, EINVAL

PIECE_BYTES = 1 << 16
FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def read_regular(
    path: str | os.PathLike[str], most: int, *, flags: int = 0, dir_fd: int | None = None
) -> bytes:
    """Read a regular file of at most `most` bytes. Raises OSError for any other file.

    `flags`: further flags of open(2), such as O_NOFOLLOW.
    """
    descriptor = open_regular(path, FLAGS | flags, dir_fd=dir_fd)
    try:
        return read_whole(descriptor, most)
    finally:
        os.close(descriptor)


def read_text(path: str | os.PathLike[str], most: int) -> str:
    """Read such a file as text, with newlines only. Raises OSError, UnicodeDecodeError."""
    return read_regular(path, most).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def head(path: str | os.PathLike[str], most: int) -> bytes:
    """Read the first bytes of a regular file. Raises OSError for any other file."""
    descriptor = open_regular(path, FLAGS)
    try:
        return read_at_most(descriptor, most)
    finally:
        os.close(descriptor)


def open_regular(
    path: str | os.PathLike[str], flags: int, mode: int = 0o600, *, dir_fd: int | None = None
) -> int:
    """Open a regular file. The caller owns the descriptor. Raises OSError for any other file."""
    descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(EINVAL, "not a regular file")  # noqa: TRY301 - the descriptor is closed
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_whole(descriptor: int, most: int) -> bytes:
    """Read a file of at most `most` bytes. Raises OSError for a larger one."""
    if os.fstat(descriptor).st_size <= most:  # it is 0 for files in /proc
        found = read_at_most(descriptor, most + 1)
        if len(found) <= most:
            return found
    raise OSError(EFBIG, f"larger than {size(most)}")


def read_at_most(descriptor: int, most: int) -> bytes:
    """Read up to `most` bytes from the current position. Raises OSError."""
    found = bytearray()
    while len(found) < most:
        piece = os.read(descriptor, min(PIECE_BYTES, most - len(found)))
        if not piece:
            break
        found += piece
    return bytes(found)


def read_end(descriptor: int, most: int) -> bytes:
    """Read the last `most` bytes. Raises OSError."""
    os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - most), os.SEEK_SET)
    return read_at_most(descriptor, most)


def size(count: int) -> str:
    """Format a number of bytes, such as 1 MiB."""
    for shift, unit in ((20, "MiB"), (10, "KiB")):
        if count >= 1 << shift and not count % (1 << shift):
            return f"{count >> shift} {unit}"
    return f"{count} bytes"
