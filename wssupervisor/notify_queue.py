"""Notifications to systemd, sent without waiting.

systemd reads them at once, unless it is busy, stopped or hung: then its socket is full, and a send
would block. A thread sends later, in order, what cannot be sent at once.
"""

import errno
import fcntl
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from wssupervisor import quiet_thread

QUEUED_MAX = 2000
"""More than this many wait only for a systemd that will never read them."""
SEND_SECONDS = 1.0
NEVER = {
    *(errno.ENOENT, errno.ECONNREFUSED, errno.EPIPE, errno.EACCES, errno.EPERM, errno.ENOTDIR),
    *(errno.EMSGSIZE, errno.EBADF, errno.EINVAL),
}
"""Permanent errors: no listener, or not for this. Others, such as no room, are temporary."""
RETRY_SECONDS = 0.2
LATEST = ("STATUS=", "WATCHDOG=", "EXTEND_TIMEOUT_USEC=")
"""Of these, only the latest unread one is kept."""


@dataclass(frozen=True, slots=True)
class _Message:
    """Owns its descriptors."""

    state: str
    descriptors: tuple[int, ...]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


class NotifyQueue:
    def __init__(self, address: str) -> None:
        self._address = address.replace("@", "\0", 1) if address[0] == "@" else address
        self._waiting: deque[_Message] = deque()
        self._changed = threading.Condition()
        self._sending = False

    def send(self, state: str, descriptors: Sequence[int]) -> None:
        """Send now, or after all that waits. Raises OSError if no process listens."""
        with self._changed:
            if not self._waiting and not self._sending:
                try:
                    self._send(state, descriptors, 0.0)
                except OSError as error:
                    if error.errno in NEVER:
                        raise
                else:
                    return
            self._keep(state, descriptors)

    def _keep(self, state: str, descriptors: Sequence[int]) -> None:
        latest = next((one for one in LATEST if state.startswith(one)), None)
        if latest is not None:
            self._waiting = deque(one for one in self._waiting if not one.state.startswith(latest))
        if len(self._waiting) >= QUEUED_MAX:
            return
        own = tuple(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 0) for one in descriptors)
        self._waiting.append(_Message(state, own))
        if not self._sending:
            quiet_thread.start(self._run, "notify")  # it waits until we release the lock
            self._sending = True

    def _run(self) -> None:
        """Send until nothing waits."""
        while True:
            with self._changed:
                if not self._waiting:
                    self._sending = False
                    return
                message = self._waiting[0]
            if self._sent(message):
                with self._changed:
                    if self._waiting and self._waiting[0] is message:
                        self._waiting.popleft()
                message.close()

    def _sent(self, message: _Message) -> bool:
        """Whether it was sent, or can never be."""
        try:
            self._send(message.state, message.descriptors, SEND_SECONDS)
        except TimeoutError:
            return False
        except OSError as error:
            if error.errno in NEVER:
                return True
            time.sleep(RETRY_SECONDS)
            return False
        return True

    def _send(self, state: str, descriptors: Sequence[int], within: float) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(within)
            sender.connect(self._address)
            socket.send_fds(sender, [state.encode()], list(descriptors))
