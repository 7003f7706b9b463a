"""Our end of a worker's channel: what it says, within bounds, and what we say to it."""

import socket
from dataclasses import dataclass

from wssupervisor.foreign import ROOM, Closer, descriptors_in, refuse_descriptors
from wssupervisor.runtime.kernel.descriptors import inherited
from wssupervisor.worker import protocol
from wssupervisor.worker.protocol import Bad, FromSupervisor, FromWorker

MESSAGES_PER_LOOK = 32
"""Of one worker: one that floods us waits for our next look."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    descriptor: int
    closed: bool


class Channel:
    """Owns our socket, and until it is passed on the worker's."""

    def __init__(self, own: socket.socket, theirs: socket.socket, *, closed: bool = False) -> None:
        self._socket, self._theirs = own, theirs
        self._closer = Closer()
        self.closed = closed
        """By the worker, or by us after it broke the protocol."""

    @classmethod
    def create(cls) -> "Channel":
        """Raises OSError."""
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        own, theirs = socket.socketpair(socket.AF_UNIX, kind)
        refuse_descriptors(own)
        return cls(own, theirs)

    def save(self) -> ChannelState:
        return ChannelState(self.fileno(), self.closed)

    @classmethod
    def restore(cls, state: ChannelState) -> "Channel":
        """Its worker has had its end since its start."""
        own = inherited(state.descriptor)
        return cls(own, own, closed=state.closed)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def theirs(self) -> int:
        """The descriptor for the worker."""
        return self._theirs.fileno()

    def passed_on(self) -> None:
        self._theirs.close()

    @property
    def is_deaf(self) -> bool:
        """Too many descriptors that its worker sent are not closed yet: nothing is received."""
        return self._closer.is_full

    def receive(self) -> list[FromWorker | Bad]:
        """What has come since the last look, at most MESSAGES_PER_LOOK; never blocks.

        Types that we do not know are left out. A bad message is the last that is heard.
        """
        found: list[FromWorker | Bad] = []
        for _ in range(MESSAGES_PER_LOOK):
            if self.is_deaf:
                return found
            try:
                data, control, _, _ = self._socket.recvmsg(
                    protocol.MESSAGE_BYTES + 1, ROOM, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return found
            except OSError:
                data, control = b"", []
            self._closer.close(descriptors_in(control))
            if not data:
                self.closed = True
                return found
            try:
                message = protocol.from_worker(data)
            except Bad as bad:
                self.closed = True
                return [*found, bad]
            if message is not None:
                found.append(message)
        return found

    def send(self, message: FromSupervisor) -> bool:
        """False where it is not to be had: gone, or so far behind that its buffer is full."""
        if self.closed:
            return False
        try:
            self._socket.send(protocol.encode(message))
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._theirs.close()
        if self._socket.fileno() >= 0:
            self._closer.close([self._socket.detach()])
