"""Our end of a worker's channel: receives its messages within limits, and sends it ours."""

import socket
from dataclasses import dataclass

from wssupervisor.foreign import ROOM, Closer, descriptors_in, refuse_descriptors
from wssupervisor.runtime.kernel.descriptors import inherited
from wssupervisor.worker import protocol
from wssupervisor.worker.protocol import Bad, FromSupervisor, FromWorker

MESSAGES_PER_LOOK = 32
"""Per worker: the rest of a flood waits for the next look."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    descriptor: int
    closed: bool


class Channel:
    """Owns our socket and, until it is passed on, the worker's socket."""

    def __init__(self, own: socket.socket, theirs: socket.socket, *, closed: bool = False) -> None:
        self._socket, self._theirs = own, theirs
        self._closer = Closer()
        self.closed = closed
        """Whether the worker closed its end, or we closed ours after a protocol error."""

    @classmethod
    def create(cls) -> "Channel":
        """Make both ends of a channel. Raises OSError."""
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        own, theirs = socket.socketpair(socket.AF_UNIX, kind)
        refuse_descriptors(own)
        return cls(own, theirs)

    def save(self) -> ChannelState:
        return ChannelState(self.fileno(), self.closed)

    @classmethod
    def restore(cls, state: ChannelState) -> "Channel":
        """Take over our end. The worker has had its own end since it started."""
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
        """Whether receiving has paused: too many received descriptors are not closed yet."""
        return self._closer.is_full

    def receive(self) -> list[FromWorker | Bad]:
        """The messages since the last look, at most MESSAGES_PER_LOOK; never blocks.

        Leaves out unknown types. After a bad message the channel is closed.
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
        """Send; False if the worker has closed the channel, or its buffer is full."""
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
