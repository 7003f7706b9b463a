"""Our end of a worker's channel: receives its messages within limits, and sends it ours."""

import array
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from wssupervisor.foreign import ROOM, Closer, descriptors_in, refuse_descriptors
from wssupervisor.runtime.kernel.descriptors import inherited
from wssupervisor.worker import protocol
from wssupervisor.worker.lines import LINE_BYTES, Line, Lines
from wssupervisor.worker.protocol import Bad, FromSupervisor, FromWorker, Refused

MESSAGES_PER_LOOK = 32
"""Per worker: the rest of a flood waits for the next look."""
READ_BYTES = 1024
"""At a time: as many bytes hold at most 80 messages beyond MESSAGES_PER_LOOK."""
READS_PER_LOOK = 32
"""Per worker: this much of what is no message, such as empty lines."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """`unread` and `unsent`: the part of a line that was received, or is still to be sent.

    `may_be_torn`: the first line may lack its beginning, which a supervisor that died had read.
    """

    descriptor: int
    closed: bool
    unread: str = ""
    unsent: str = ""
    may_be_torn: bool = False


def after_death(descriptor: int, *, closed: bool) -> ChannelState:
    """The state of a channel whose supervisor died, perhaps in the middle of a line.

    Our first newline ends the line that it had begun to send: the worker ignores it, incomplete.
    """
    return ChannelState(descriptor, closed, unsent="\n", may_be_torn=True)


class Channel:
    """Owns our socket and, until it is passed on, the worker's socket."""

    def __init__(
        self, own: socket.socket, theirs: socket.socket | None, state: ChannelState | None = None
    ) -> None:
        """`theirs` None: the worker has its end already. `state`: of the channel before."""
        self._socket, self._theirs = own, theirs
        self._closer = Closer()
        self.closed = state is not None and state.closed
        """Whether the worker closed its end, or we closed ours after a protocol error."""
        self.is_behind = False
        """Whether `receive` stopped at a limit: the rest must be received at the next look."""
        self._lines = Lines(b"" if state is None else state.unread.encode("latin-1", "replace"))
        self._unsent = b"" if state is None else state.unsent.encode("latin-1", "replace")
        self._may_be_torn = state is not None and state.may_be_torn

    @classmethod
    def create(cls) -> "Channel":
        """Make both ends of a channel. Raises OSError."""
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        own, theirs = socket.socketpair(socket.AF_UNIX, kind)
        refuse_descriptors(own)
        return cls(own, theirs)

    def save(self) -> ChannelState:
        return ChannelState(
            self.fileno(),
            self.closed,
            self._lines.begun.decode("latin-1"),
            self._unsent.decode("latin-1"),
            self._may_be_torn,
        )

    @classmethod
    def restore(cls, state: ChannelState) -> "Channel":
        """Take over our end. The worker has had its own since it started."""
        return cls(inherited(state.descriptor), None, state)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def theirs(self) -> int:
        """The descriptor for the worker, until `passed_on`."""
        assert self._theirs is not None
        return self._theirs.fileno()

    def passed_on(self) -> None:
        """Close our copy of the worker's end."""
        if self._theirs is not None:
            self._theirs.close()

    def receive(self) -> list[FromWorker | Bad]:
        """The messages since the last look, within limits (see `is_behind`); never blocks.

        Leaves out unknown types. After a bad message the channel is closed.
        """
        found: list[FromWorker | Bad] = []
        self.is_behind = False
        for _ in range(READS_PER_LOOK):
            if self.closed:
                return found
            if len(found) >= MESSAGES_PER_LOOK or self._closer.is_full:
                break
            try:
                piece = self._read()
            except BlockingIOError:
                return found
            except ConnectionResetError:
                continue  # reported once, before the worker's last words
            except OSError:
                piece = b""
            self.closed = not piece
            found += self._messages(self._lines.feed(piece))
        self.is_behind = not self.closed
        return found

    def _read(self) -> bytes:
        piece, control, _, _ = self._socket.recvmsg(READ_BYTES, ROOM, socket.MSG_CMSG_CLOEXEC)
        self._closer.close(descriptors_in(control))
        return piece

    def _messages(self, lines: Sequence[Line]) -> list[FromWorker | Bad]:
        """Decode lines, up to a bad one, which closes the channel."""
        found: list[FromWorker | Bad] = []
        for line in lines:
            torn, self._may_be_torn = self._may_be_torn, False
            try:
                message = protocol.from_worker(line.data)
            except Bad as bad:
                if torn:
                    continue
                self.refuse(str(bad))
                return [*found, bad]
            if message is not None:
                found.append(message)
        if self._lines.is_too_long:
            reason = f"a line of more than {LINE_BYTES} bytes"
            self.refuse(reason)
            found.append(Bad(reason))
        return found

    def send(self, message: FromSupervisor, descriptors: Sequence[int] = ()) -> bool:
        """Send a message, with copies of at most DESCRIPTORS_MAX. False: the worker does not read.

        If the worker has closed the channel, the message is dropped. Raises OSError.
        """
        if self.closed or not self.flush():
            return False
        line = protocol.encode(message)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            sent = self._socket.sendmsg([line], rights if descriptors else [])
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # `receive` finds the end of the stream
        self._unsent = line[sent:]
        return True

    def flush(self) -> bool:
        """Send the rest of a line; False if the worker has not read enough for that yet."""
        try:
            if self._unsent and not self.closed:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            return False
        except OSError:
            self._unsent = b""  # `receive` finds the end of the stream
        return not self._unsent

    def refuse(self, reason: str) -> None:
        """Close the channel and send the worker the reason, if the worker reads."""
        with suppress(OSError):
            self.send(Refused(reason))
        self.closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.passed_on()
        if self._socket.fileno() >= 0:
            self._closer.close([self._socket.detach()])
