"""Moves workers' output from their pipes into the memory files that the supervisor reads.

relay.py runs this file as a program of its own; it uses the standard library only. The relay
outlives the supervisor, so that no worker ever blocks or fails because of its output. Descriptor 3
is a socket: each message brings the reading end of a pipe and its file. The bytes of a pipe without
a file are discarded.

Each byte is either in the pipe or in the file, even if the relay is killed: splice(2) holds the
pipe's lock for the whole move. A lock on each file (flock) keeps a second relay from writing to it.
"""

import _signal  # type: ignore[import-not-found] # `signal` imports enum
import _socket
import errno
import fcntl
import os
import select
import sys

CONTROL = 3
MOVE_BYTES = 1 << 18
LIMIT_BYTES = 16 << 20
"""Most unread output kept per worker; beyond this the oldest bytes are dropped."""
KEPT_BYTES = 4 << 20
PAGE = 4096
RETRY_LOCK_MS = 20
"""Between two attempts to lock a file that another relay still has."""
NO_SPLICE = (errno.EINVAL, errno.EPERM, errno.ENOSYS)
FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2


def punch(file: int, begin: int, end: int) -> None:
    """Give back the memory of these bytes; they read as a hole (SEEK_DATA) from then on."""
    import ctypes  # noqa: PLC0415 - large, and rarely needed here

    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, end - begin)


def bound(file: int, limit: int = LIMIT_BYTES) -> None:
    """Drop the oldest bytes of a file that holds more than `limit` bytes."""
    found = os.fstat(file)
    if found.st_blocks * 512 > limit:
        end = (found.st_size - limit * KEPT_BYTES // LIMIT_BYTES) // PAGE * PAGE
        punch(file, 0, end)


def move(pipe: int, file: int) -> bool:
    """Move the pipe's bytes to the end of the file; False if no writer is left."""
    try:
        at = os.fstat(file).st_size
        moved = os.splice(pipe, file, MOVE_BYTES, offset_dst=at, flags=os.SPLICE_F_NONBLOCK)
    except BlockingIOError:
        return True
    except OSError as error:
        return _copy(pipe, file, error)
    if moved:
        bound(file)
    return moved > 0


def _copy(pipe: int, file: int, error: OSError) -> bool:
    """Copy what splice(2) cannot move, or has no memory for."""
    data = os.read(pipe, MOVE_BYTES)
    try:
        if error.errno not in NO_SPLICE:
            bound(file, PAGE)
        os.pwrite(file, data, os.fstat(file).st_size)
        bound(file)
    except OSError:
        return bool(data)  # lost: its writer must not wait for memory
    return bool(data)


def own_opening(file: int) -> int | None:
    """The file, opened and locked by us; None while another relay has it."""
    opened = os.open(f"/proc/self/fd/{file}", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened


class Relay:
    def __init__(self) -> None:
        self._control: _socket.socket | None = _socket.socket(fileno=CONTROL)
        self._control.setblocking(False)
        self._files: dict[int, int | None] = {}
        """By pipe: the file that we have locked; None: bytes are discarded."""
        self._locked: dict[int, int] = {}
        """By pipe: a file that another relay has locked."""
        self._poll = select.poll()
        self._poll.register(CONTROL, select.POLLIN)
        self._signals, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll.register(self._signals, select.POLLIN)
        _signal.signal(_signal.SIGTERM, lambda *_: None)
        _signal.set_wakeup_fd(self._woken)

    def run(self) -> None:
        """Run until the supervisor has closed its end and no pipe has a writer left."""
        while self._control is not None or self._files or self._locked:
            for ready, _ in self._poll.poll(RETRY_LOCK_MS if self._locked else None):
                if ready == CONTROL and self._control is not None:
                    self._hear(self._control)
                elif ready == self._signals:
                    os.read(self._signals, 64)
                    self._hand_over()
                elif ready in self._files:
                    self._look(ready)
            for pipe, file in list(self._locked.items()):
                self._begin(pipe, file)

    def _hear(self, control: _socket.socket) -> bool:
        """Process one message; False if there is none, or the socket is closed."""
        try:
            data, ancillary, _, _ = control.recvmsg(16, _socket.CMSG_SPACE(8))
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary = b"", []
        got = b"".join(part for _, _, part in ancillary)
        numbers = [int.from_bytes(got[at : at + 4], sys.byteorder) for at in range(0, len(got), 4)]
        if not data:
            self._poll.unregister(CONTROL)
            control.close()
            self._control = None
            return False
        if len(numbers) == 2:
            self._begin(*numbers)
        elif numbers:
            self._throw_away(numbers[0])
        return True

    def _begin(self, pipe: int, file: int) -> None:
        opened = own_opening(file)
        if opened is None:
            self._locked[pipe] = file
            return
        self._locked.pop(pipe, None)
        os.close(file)
        self._files[pipe] = opened
        self._poll.register(pipe, select.POLLIN)

    def _throw_away(self, new: int) -> None:
        """Discard the bytes of this pipe from now on."""
        inode = os.fstat(new).st_ino
        for pipe in [*self._files, *self._locked]:
            if os.fstat(pipe).st_ino == inode:
                self._end(pipe)
        self._files[new] = None
        self._poll.register(new, select.POLLIN)

    def _look(self, pipe: int) -> None:
        file = self._files[pipe]
        goes_on = move(pipe, file) if file is not None else bool(os.read(pipe, MOVE_BYTES))
        if not goes_on:
            self._end(pipe)

    def _end(self, pipe: int) -> None:
        if pipe in self._files:
            self._poll.unregister(pipe)
        for files in (self._files, self._locked):
            file = files.pop(pipe, None)
            if file is not None:
                os.close(file)
        os.close(pipe)

    def _hand_over(self) -> None:
        """Release all files if our supervisor has ended: another relay has them, too."""
        while self._control is not None and self._hear(self._control):
            pass
        if self._control is None:
            files = [pipe for pipe, file in self._files.items() if file is not None]
            for pipe in [*self._locked, *files]:
                self._end(pipe)


if __name__ == "__main__":
    Relay().run()
