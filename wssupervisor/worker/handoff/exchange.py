"""One end of the socket pair between two workers: messages with descriptors beside them.

The supervisor makes the pair and sends one end to each worker. It then keeps neither.
"""

import array
import os
import socket
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from wssupervisor.worker.handoff.fields import Malformed
from wssupervisor.worker.handoff.messages import (
    BESIDE,
    CONNECTIONS_MAX,
    MESSAGE_BYTES,
    Batch,
    FromGiver,
    FromTaker,
    encode,
    from_giver,
    from_taker,
)
from wssupervisor.worker.handoff.states import STATES_BYTES, State, encode_states, state_texts

DESCRIPTORS_MAX = 253
"""SCM_MAX_FD of the kernel: descriptors in one message."""
_ROOM = socket.CMSG_LEN(DESCRIPTORS_MAX * array.array("i").itemsize)
CUT_OFF = "descriptors were cut off: the worker has too many open files"
"""Why a whole batch is refused."""

Heard = TypeVar("Heard", bound=FromGiver | FromTaker)


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends. Raises OSError."""
    kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    return socket.socketpair(socket.AF_UNIX, kind)


@dataclass(slots=True)
class Received(Generic[Heard]):
    """A message, and the owner of the descriptors that came with it. Use it as a context manager.

    `cut_off`: descriptors are missing because this process may open no more.
    """

    message: Heard
    descriptors: list[int] = field(default_factory=list)
    cut_off: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def claim(self) -> int:
        """The claim of a batch, which this object keeps open."""
        return self.descriptors[0]

    def states(self) -> list[object]:
        """Read the states of a batch: one JSON value for each connection. Raises Malformed."""
        assert isinstance(self.message, Batch)
        return state_texts(read_states(self.descriptors[1]), self.message.count)

    def take_claim(self) -> int:
        """Hand the claim over to the caller."""
        return self._take(0)

    def take_connection(self, at: int) -> int:
        """Hand the descriptor of a connection of this batch over to the caller."""
        return self._take(BESIDE + at)

    def _take(self, at: int) -> int:
        found, self.descriptors[at] = self.descriptors[at], -1
        return found

    def close(self) -> None:
        """Close the descriptors that were not handed over."""
        for descriptor in self.descriptors:
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptors = [-1] * len(self.descriptors)


class End(Generic[Heard]):
    """Owns one end. `decode` reads the messages of the other side. Nothing blocks."""

    def __init__(self, sock: socket.socket, decode: Callable[[bytes], Heard | None]) -> None:
        self._socket = sock
        self._decode = decode
        self.ended = False
        """Whether everything that the other side sent has been read, and it has closed its end."""
        sock.setblocking(False)

    @classmethod
    def of_giver(cls, sock: socket.socket) -> "End[FromTaker]":
        return End(sock, from_taker)

    @classmethod
    def of_taker(cls, sock: socket.socket) -> "End[FromGiver]":
        return End(sock, from_giver)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, message: FromTaker | FromGiver, descriptors: Sequence[int] = ()) -> None:
        """Send a message.

        Raises BlockingIOError if the other side is not reading, and OSError if it has gone or
        (ETOOMANYREFS) too many descriptors of this user are in flight.
        """
        assert len(descriptors) <= BESIDE + CONNECTIONS_MAX
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._socket.sendmsg([encode(message)], rights if descriptors else ())

    def receive(self) -> Received[Heard] | None:
        """Return the next message. None if there is none now; `ended` then states whether ever.

        Unknown types are left out. Raises Malformed; the descriptors that came along are closed.
        """
        while True:
            try:
                # Not recv_fds: up to Python 3.13 it ignores its flags, and children would inherit.
                data, control, flags, _ = self._socket.recvmsg(
                    MESSAGE_BYTES + 1, _ROOM, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return None
            except ConnectionResetError:
                continue  # the kernel reports the reset before what was sent ahead of it
            descriptors = _descriptors_in(control)
            if not data:
                self.ended = True
                _close_all(descriptors)
                return None
            found = self._received(data, descriptors, cut_off=bool(flags & socket.MSG_CTRUNC))
            if found is not None:
                return found

    def _received(
        self, data: bytes, descriptors: list[int], *, cut_off: bool
    ) -> Received[Heard] | None:
        try:
            message = self._decode(data)
            if message is not None:
                _check_descriptors(message, len(descriptors), cut_off=cut_off)
                return Received(message, descriptors, cut_off)
        except Malformed:
            _close_all(descriptors)
            raise
        _close_all(descriptors)
        return None


def _check_descriptors(message: FromTaker | FromGiver, found: int, *, cut_off: bool) -> None:
    expected = message.descriptors if isinstance(message, Batch) else 0
    if found > expected or (found < expected and not cut_off):
        name = type(message).__name__.lower()
        raise Malformed(f"{name}: found {found} descriptors, expected {expected}")


def _descriptors_in(control: Iterable[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _close_all(descriptors: Sequence[int]) -> None:
    for one in descriptors:
        os.close(one)


def write_states(states: Sequence[State]) -> int:
    """Return a memfd with the states of one message: it has no limit as a datagram has.

    Raises OSError, and ValueError if the states are longer than a taker reads.
    """
    data = encode_states(states)
    if len(data) > STATES_BYTES:
        raise ValueError(f"states of {len(data)} bytes: at most {STATES_BYTES} are read")
    descriptor = os.memfd_create("wssupervisor-handoff", os.MFD_CLOEXEC)
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_states(descriptor: int) -> bytes:
    """Read the whole file. Raises Malformed."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > STATES_BYTES:
            raise Malformed(f"states: expected a file of at most {STATES_BYTES} bytes")
        return os.pread(descriptor, status.st_size, 0)
    except OSError as error:
        raise Malformed(f"states: {error.strerror}") from None
