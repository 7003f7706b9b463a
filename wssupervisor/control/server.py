"""The daemon's end of the control socket: identifies, authorizes and answers clients."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from wssupervisor import logging
from wssupervisor.acceptor import Acceptor
from wssupervisor.bounded import bounded
from wssupervisor.control import protocol
from wssupervisor.control.control_socket import ControlSocket
from wssupervisor.control.peer import Peer, authorize, peer_of
from wssupervisor.control.shares import Seat, admission
from wssupervisor.errors import Busy, ProtocolError, WssError
from wssupervisor.foreign import close_beside, received

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
    """Answers the clients of a control socket that listens; owns the socket and the connections."""

    def __init__(
        self,
        control: ControlSocket,
        handler: Handler,
        *,
        group_may_operate: bool = False,
        instead: Mapping[str, str] | None = None,
    ) -> None:
        """`instead`: the command to use instead of a method that the daemon refuses to everyone."""
        self._control = control
        self._handler = handler
        self._group_may_operate = group_may_operate
        self._instead = instead or {}
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self._closing = False
        self._acceptor = Acceptor(control.listening, self._welcome)

    async def close(self) -> None:
        """Close every connection and remove what we made.

        Waiting clients get their answers if they are ready within ANSWERED_WITHIN seconds.
        """
        self._closing = True
        self._acceptor.pause()
        self._control.close()
        asking = [task for task, one in self._connections.items() if one.idle_since is None]
        if asking:
            await asyncio.wait(asking, timeout=ANSWERED_WITHIN)
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._control.release()

    def mend(self) -> bool:
        """Make socket and lock again if they were deleted. True if either was.

        Takes nothing from another daemon that has the path by now. Raises OSError,
        InstanceRunning, ListenFailed.
        """
        if self._closing:
            return False
        made = self._control.mend_lock()
        old = self._control.mend_file()
        if old is None:
            return made
        self._acceptor.pause()
        with contextlib.suppress(OSError):  # BlockingIOError: no more connections
            while True:
                client, _ = old.accept()
                self._welcome(received(client))
        close_beside(old)
        self._acceptor = Acceptor(self._control.listening, self._welcome)
        return True

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
                group_may_operate=self._group_may_operate,
                instead=self._instead.get(request.method),
            )
            return await self._handler(peer, request.method, request.params, send_event)

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
    """Send a message. Raises ProtocolError if it is too long, and _ClientGone."""
    await _write(writer, protocol.encode(message))


async def _write(writer: asyncio.StreamWriter, line: bytes) -> None:
    """Write a line, and wait while the client's buffer is full. Raises _ClientGone."""
    writer.write(line)
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await writer.drain()
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
        async with asyncio.timeout(WRITE_SECONDS):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
    except asyncio.CancelledError:  # its place is needed for another
        writer.transport.abort()
