"""Pidfds: a process that cannot be mistaken for another, its signals, descriptors, and exit."""

import contextlib
import ctypes
import fcntl
import os
import signal
import struct

from wssupervisor.fleet.model import Exit
from wssupervisor.runtime.kernel.procfs import start_time, status_of_zombie

PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO = struct.Struct("=QQ11Ii")
"""struct pidfd_info as of Linux 6.13; it has the exit status from 6.15 on (linux/pidfd.h)."""

SYS_PIDFD_GETFD = 438
"""The same on every architecture (Linux 5.6)."""
_syscall = ctypes.CDLL(None, use_errno=True).syscall


def share(pid: int, number: int) -> int:
    """Duplicate a descriptor of another process; the caller owns the copy. Raises OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        found = int(_syscall(SYS_PIDFD_GETFD, pidfd, number, 0))
        if found < 0:
            failed = ctypes.get_errno()
            raise OSError(failed, os.strerror(failed))
    finally:
        os.close(pidfd)
    return found


def exit_of(pidfd: int, pid: int) -> Exit | None:
    """How a process ended that is not our child; None if the kernel does not show it (yet).

    From Linux 6.15 on its pidfd shows it after its parent has waited for it; before that, /proc.
    """
    status = _status_of(pidfd)
    if status is None:
        status = status_of_zombie(pid)
    if status is None:
        return None
    if os.WIFSIGNALED(status):
        return Exit(signal=signal.Signals(os.WTERMSIG(status)).name)
    return Exit(status=os.WEXITSTATUS(status))


def _status_of(pidfd: int) -> int | None:
    info = bytearray(_PIDFD_INFO.size)
    struct.pack_into("=Q", info, 0, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError:
        return None
    mask, *_, status = _PIDFD_INFO.unpack(info)
    return int(status) if mask & PIDFD_INFO_EXIT else None


def open_child(pid: int) -> int:
    """The pidfd of a child just started. Raises OSError after killing the child."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own
        raise


def send(pid: int, started: int | None, number: int) -> None:
    """Signal a process, unless its pid has been reused. `started`: its start time, in ticks."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        pidfd = os.pidfd_open(pid)
        try:
            if started is not None and start_time(pid) == started:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)
