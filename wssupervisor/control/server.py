"""The daemon's end of the control socket: who asks, may they, and what is answered."""

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
"""A waiting client hears something at least every 2 s."""
WRITE_SECONDS = 10.0
"""A client that does not read its answers is dropped after this."""
ANSWERED_WITHIN = 1.0
"""Who waits when the server closes has so long to get the answer."""
PIPELINED_MAX = 4
"""Requests of one client that may wait for the one before them: each may have a whole line."""
TOO_MANY = "too many control clients of user {name}; end those that wait, or try again"

SendEvent = Callable[[protocol.Object], Awaitable[None]]


Handler = Callable[[Peer, str, protocol.Object, SendEvent], Awaitable[protocol.Object]]
"""Answers one request; raises WssError; is cancelled when the client goes away."""


class _ClientGone(Exception):
    """Nobody reads what we write: it went away, or has not read for WRITE_SECONDS."""


@dataclass(slots=True)
class _Connection:
    """A client's. `idle_since` None: it has a request that has not been answered yet."""

    sock: socket.socket
    peer: Peer
    idle_since: float | None
    refused: bool = False
    """It is closed to make room."""

    def seat(self) -> Seat:
        return Seat(self.peer.uid, self.peer.is_owner, self.idle_since)


class ControlServer:
    """Owns the socket file and a lock beside it, which is how two daemons are told apart."""

    def __init__(self, path: str, handler: Handler) -> None:
        self.path = path
        self.handler = handler
        self.group_may_operate = False
        self.instead: Mapping[str, str] = {}
        """The command to use instead of a method that the daemon refuses to everyone."""
        self.made_directory = False
        """The socket's directory was not there before: it goes with us."""
        self._file: Identity | None = None
        self._lock: LockFile | None = None
        self._listening: socket.socket | None = None
        self._acceptor: Acceptor | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._closing = False

    def claim(self) -> None:
        """Be the one daemon of this path. Raises InstanceRunning, ListenFailed."""
        try:
            refuse_other_files(self.path)
            self.made_directory = make_directory(Path(self.path).parent)
            self._lock = LockFile.claim(self.path)
        except Held as held:
            raise InstanceRunning(
                f"a daemon (pid {held.owner}) runs at {self.path} already; put a new release live"
                " with `wssctl reload`, end it with `wssctl stop`, or give this one another --name"
            ) from None
        except OSError as error:
            raise ListenFailed(
                f"the control socket {self.path} cannot be made: {error.strerror}; {SAFE_PLACE}"
            ) from error

    def descriptors(self) -> tuple[int, int, bool]:
        """For the program after us: the socket, the lock, and whether we made the directory."""
        assert self._listening is not None
        assert self._lock is not None
        return self._listening.fileno(), self._lock.fileno(), self.made_directory

    @property
    def listening(self) -> int:
        """The socket's descriptor."""
        assert self._listening is not None
        return self._listening.fileno()

    def adopt(self, listening: int) -> None:
        """Instead of `start`, after `claim`: a socket that outlived the daemon that made it."""
        self._listening = socket.socket(fileno=listening)
        self._listening.setblocking(False)
        self._listen_on()

    def take_over(self, listening: int, lock: int, *, made_directory: bool) -> None:
        """Instead of `claim` and `start`: who has connected meanwhile is answered now."""
        self._lock = LockFile.held(self.path, lock)
        self._listening = socket.socket(fileno=listening)
        self._listening.setblocking(False)
        self.made_directory = made_directory
        self._listen_on()

    def start(self) -> None:
        """Listen; what a dead daemon left at the path is replaced. Raises ListenFailed."""
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
            raise ListenFailed(
                f"the control socket {self.path} cannot be made: {advice}"
            ) from error
        self._listen_on()

    async def close(self) -> None:
        """Close every connection and remove what we made. Who waits for an answer gets it.

        After ANSWERED_WITHIN seconds nobody is waited for any more.
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
        """Make again what was swept away; True if that was anything.

        Nothing is taken from another daemon that has the path by now. Raises OSError,
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
            with contextlib.suppress(OSError):  # BlockingIOError: those are all
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
        if connection.sock.fileno() >= 0:  # the task was cancelled before it had begun
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
            if connection.refused:  # at once: its client may read nothing
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
        """Answer one request; False when the client went away while it waited."""

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
    """Read until the client goes away; b"" on the queue says so.

    A line that is too long is passed on, and so is one that is cut off.
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
    """The same, unless its client went away in the middle of it. Raises ProtocolError."""
    if len(line) <= protocol.LINE_BYTES and not line.endswith(b"\n"):
        raise ProtocolError("a line was cut off: a request ends with a newline")
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
    return protocol.failure(request, "internal-error", bounded(f"the daemon stumbled: {error!r}"))


async def _send_answer(writer: asyncio.StreamWriter, message: protocol.Object) -> None:
    for line in protocol.encode_answer(message):
        await _write(writer, line)


async def _send(writer: asyncio.StreamWriter, message: protocol.Object) -> None:
    """Raises ProtocolError when the message is too long, _ClientGone."""
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
    """Send the reason and close, before anything was read."""
    with contextlib.suppress(OSError):
        connection.sock.send(_too_many(connection.peer))
    connection.sock.close()


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Let what was written go out, and wait until the socket is closed."""
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), WRITE_SECONDS)
    except (OSError, TimeoutError):
        writer.transport.abort()
    except asyncio.CancelledError:  # its place is needed
        writer.transport.abort()
