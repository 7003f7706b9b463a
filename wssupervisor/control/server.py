"""The daemon's end of the control socket: identifies, authorizes and answers clients."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wssupervisor import logging
from wssupervisor.acceptor import Acceptor
from wssupervisor.bounded import bounded
from wssupervisor.control import protocol
from wssupervisor.control.paths import SAFE_PLACE, make_directory
from wssupervisor.control.peer import Peer, authorize, peer_of
from wssupervisor.control.shares import Seat, admission
from wssupervisor.control.socket_file import (
    Identity,
    bound,
    identity,
    refuse_other_files,
    replace_stale,
)
from wssupervisor.errors import Busy, InstanceRunning, ListenFailed, ProtocolError, WssError
from wssupervisor.foreign import close_beside, received
from wssupervisor.lock_file import Held, LockFile

KEEPALIVE_SECONDS = 1.5
"""A waiting client gets a line at least every 2 s."""
WRITE_SECONDS = 10.0
"""A client that does not read its answers is disconnected after this."""
ANSWERED_WITHIN = 1.0
"""How long a closing server waits for the answers to waiting clients."""
PIPELINED_MAX = 4
"""Requests that one client may send ahead: each may take a whole line of memory."""
TOO_MANY = "too many control clients of user {name}. End some that wait, or try again"

SendEvent = Callable[[protocol.Object], Awaitable[None]]


Handler = Callable[[Peer, str, protocol.Object, SendEvent], Awaitable[protocol.Object]]
"""Answers one request. Raises WssError. Is cancelled when the client disconnects."""


class _ClientGone(Exception):
    """The client disconnected, or has not read for WRITE_SECONDS."""


@dataclass(slots=True)
class _Connection:
    """A client's connection. `idle_since` None: a request waits for its answer."""

    sock: socket.socket
    peer: Peer
    idle_since: float | None
    refused: bool = False
    """Closed to make room for another."""

    def seat(self) -> Seat:
        return Seat(self.peer.uid, self.peer.is_owner, self.idle_since)


class ControlServer:
    """Owns the socket file and a lock beside it, which prevents a second daemon."""

    def __init__(self, path: str, handler: Handler) -> None:
        self.path = path
        self.handler = handler
        self.group_may_operate = False
        self.instead: Mapping[str, str] = {}
        """The command to use instead of a method that the daemon refuses to every caller."""
        self.made_directory = False
        """We created the directory of the socket, and remove it at the end."""
        self._file: Identity | None = None
        self._lock: LockFile | None = None
        self._listening: socket.socket | None = None
        self._acceptor: Acceptor | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._closing = False

    def claim(self) -> None:
        """Become the only daemon of this path. Raises InstanceRunning, ListenFailed."""
        try:
            refuse_other_files(self.path)
            self.made_directory = make_directory(Path(self.path).parent)
            self._lock = LockFile.claim(self.path)
        except Held as held:
            raise InstanceRunning(
                f"a daemon (pid {held.owner}) is already running at {self.path}. Deploy a new"
                " release with `wssctl reload`, stop it with `wssctl stop`, or give this one"
                " another --name"
            ) from None
        except OSError as error:
            raise ListenFailed(
                f"cannot make the control socket {self.path}: {error.strerror}. {SAFE_PLACE}"
            ) from error

    def descriptors(self) -> tuple[int, int, bool]:
        """Return what the next program needs: socket, lock, and whether we made the directory."""
        assert self._listening is not None
        assert self._lock is not None
        return self._listening.fileno(), self._lock.fileno(), self.made_directory

    @property
    def listening(self) -> int:
        """The socket's descriptor."""
        assert self._listening is not None
        return self._listening.fileno()

    def adopt(self, listening: int) -> None:
        """Use a socket that outlived its daemon, instead of `start` and after `claim`."""
        self._listening = socket.socket(fileno=listening)
        self._listening.setblocking(False)
        self._listen_on()

    def take_over(self, listening: int, lock: int, *, made_directory: bool) -> None:
        """Continue with socket and lock of the program before, instead of `claim` and `start`."""
        self._lock = LockFile.held(self.path, lock)
        self._listening = socket.socket(fileno=listening)
        self._listening.setblocking(False)
        self.made_directory = made_directory
        self._listen_on()

    def start(self) -> None:
        """Listen, and replace a socket that a dead daemon left. Raises ListenFailed."""
        try:
            refuse_other_files(self.path)
            with contextlib.suppress(FileNotFoundError):
                Path(self.path).unlink()
            self._listening = bound(self.path)
        except OSError as error:
            advice = (
                "the path is too long for a socket"
                if "too long" in str(error)
                else (error.strerror or str(error))
            )
            raise ListenFailed(f"cannot make the control socket {self.path}: {advice}") from error
        self._listen_on()

    async def close(self) -> None:
        """Close every connection and remove what we made.

        Waiting clients get their answers if they are ready within ANSWERED_WITHIN seconds.
        """
        self._closing = True
        if self._listening is not None:
            if self._acceptor is not None:
                self._acceptor.pause()
            close_beside(self._listening)
            self._listening = None
            asking = [task for task, one in self._connections.items() if one.idle_since is None]
            if asking:
                await asyncio.wait(asking, timeout=ANSWERED_WITHIN)
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            with contextlib.suppress(FileNotFoundError):
                Path(self.path).unlink()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self.made_directory:
            with contextlib.suppress(OSError):
                Path(self.path).parent.rmdir()

    def mend(self) -> bool:
        """Make socket and lock again if they were deleted. True if either was.

        Takes nothing from another daemon that has the path by now. Raises OSError,
        InstanceRunning, ListenFailed.
        """
        if self._closing or self._listening is None or self._lock is None:
            return False
        has_lock, has_file = self._lock.is_there(), identity(self.path) == self._file
        if has_lock and has_file:
            return False
        if not has_lock:
            old, made_before = self._lock, self.made_directory
            self.claim()
            self.made_directory |= made_before
            old.abandon()
        if not has_file:
            replace_stale(self.path)
            old_socket, self._listening = self._listening, bound(self.path)
            if self._acceptor is not None:
                self._acceptor.pause()
            with contextlib.suppress(OSError):  # BlockingIOError: no more connections
                while True:
                    client, _ = old_socket.accept()
                    self._welcome(received(client))
            close_beside(old_socket)
            self._listen_on()
        return True

    def _listen_on(self) -> None:
        assert self._listening is not None
        self._file = identity(self.path)
        self._acceptor = Acceptor(self._listening, self._welcome)

    def _welcome(self, sock: socket.socket) -> None:
        connection = _Connection(sock, peer_of(sock), time.monotonic())
        there = [(task, one) for task, one in self._connections.items() if not one.refused]
        found = admission(connection.seat(), [one.seat() for _, one in there])
        if found.closes is not None:
            task, idle = there[found.closes]
            idle.refused = True
            task.cancel()
        if not found.admitted:
            _refuse(connection)
            return
        task = asyncio.get_running_loop().create_task(self._connected(connection))
        self._connections[task] = connection
        task.add_done_callback(self._disconnected)

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        connection = self._connections.pop(task)
        if connection.sock.fileno() >= 0:  # the task was cancelled before it began
            _refuse(connection)

    async def _connected(self, connection: _Connection) -> None:
        reader, writer = await asyncio.open_unix_connection(
            sock=connection.sock, limit=protocol.LINE_BYTES
        )
        try:
            await self._serve(connection, reader, writer)
        except _ClientGone:
            writer.transport.abort()
        except asyncio.CancelledError:
            pass
        finally:
            if connection.refused:  # at once: the client may never read
                writer.write(_too_many(connection.peer))
                writer.transport.abort()
            else:
                await _hang_up(writer)

    async def _serve(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        lines: asyncio.Queue[bytes] = asyncio.Queue(PIPELINED_MAX)
        reading = asyncio.ensure_future(_read_lines(reader, lines))
        try:
            while line := await lines.get():
                try:
                    request = protocol.parse_request(_whole(line))
                except ProtocolError as error:
                    await _send(writer, protocol.failure(None, error.code, str(error)))
                    return
                connection.idle_since = None
                heard = await self._answer(connection.peer, request, reading, writer)
                connection.idle_since = time.monotonic()
                if not heard or self._closing:
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _answer(
        self,
        peer: Peer,
        request: protocol.Request,
        reading: asyncio.Future[None],
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request. False if the client disconnected while it waited."""

        async def send_event(value: protocol.Object) -> None:
            await _write(writer, protocol.encode_event(request.id, value))

        async def handle() -> protocol.Object:
            authorize(
                peer,
                request.method,
                group_may_operate=self.group_may_operate,
                instead=self.instead.get(request.method),
            )
            return await self.handler(peer, request.method, request.params, send_event)

        work: asyncio.Future[protocol.Object] = asyncio.ensure_future(handle())
        try:
            while not work.done():
                await asyncio.wait(
                    (work, reading),
                    timeout=KEEPALIVE_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if work.done():
                    break
                if reading.done():
                    return False
                await send_event(protocol.KEEPALIVE)
            await _send_answer(writer, _answered(request.id, work))
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        return True


async def _read_lines(reader: asyncio.StreamReader, lines: asyncio.Queue[bytes]) -> None:
    """Read until the client disconnects, which puts b"" on the queue.

    Passes on lines that are too long or incomplete.
    """
    while True:
        try:
            line = await reader.readline()
        except ValueError:
            line = b" " * (protocol.LINE_BYTES + 1)
        except ConnectionError:
            line = b""
        await lines.put(line)
        if not line.endswith(b"\n"):
            return


def _whole(line: bytes) -> bytes:
    """Return a complete line. Raises ProtocolError if the client disconnected within it."""
    if len(line) <= protocol.LINE_BYTES and not line.endswith(b"\n"):
        raise ProtocolError("a line is incomplete: a request must end with a newline")
    return line


def _answered(request: int, work: "asyncio.Future[protocol.Object]") -> protocol.Object:
    error = work.exception()
    if error is None:
        return protocol.result(request, work.result())
    if isinstance(error, _ClientGone):
        raise error
    if isinstance(error, WssError):
        data: protocol.Object = {"lines": protocol.fitting(error.lines), **error.data}
        return protocol.failure(request, error.code, str(error), data)
    logging.limited("error", "request failed", {}, exc_info=error)
    return protocol.failure(
        request, "internal-error", bounded(f"internal error in the daemon (see its log): {error!r}")
    )


async def _send_answer(writer: asyncio.StreamWriter, message: protocol.Object) -> None:
    for line in protocol.encode_answer(message):
        await _write(writer, line)


async def _send(writer: asyncio.StreamWriter, message: protocol.Object) -> None:
    """Raises ProtocolError if the message is too long, _ClientGone."""
    await _write(writer, protocol.encode(message))


async def _write(writer: asyncio.StreamWriter, line: bytes) -> None:
    """Raises _ClientGone."""
    writer.write(line)
    try:
        await asyncio.wait_for(writer.drain(), WRITE_SECONDS)
    except (ConnectionError, TimeoutError) as error:
        raise _ClientGone from error


def _too_many(peer: Peer) -> bytes:
    return protocol.encode(protocol.failure(None, Busy.code, TOO_MANY.format(name=peer.name)))


def _refuse(connection: _Connection) -> None:
    """Send the reason and close, without reading."""
    with contextlib.suppress(OSError):
        connection.sock.send(_too_many(connection.peer))
    connection.sock.close()


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Flush the output, and wait until the socket is closed."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), WRITE_SECONDS)
    except (OSError, TimeoutError):
        writer.transport.abort()
    except asyncio.CancelledError:  # its place is needed for another
        writer.transport.abort()
