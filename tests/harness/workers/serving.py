"""The test application: greets raw connections, echoes on WebSockets, on every slot it was given.

Its one argument says how it behaves:
    well              serves until SIGTERM
    stubborn          ignores every signal but SIGKILL and never stops accepting
    ready_then_dead   serves, and dies a moment after its first connection
    shuts_down        shuts its listeners down at the first connection, and ends
    orphans           leaves a process behind that ends a moment later
    greedy            serves, and takes all memory there is when it gets SIGUSR2
    answers_500       accepts, and answers every request with 500
    never_answers     accepts, and says nothing
    nonsense          completes the handshake, and echoes something else
    gated             serves only from when the file $GATE exists: the test opens the gate

On SIGUSR1 it lets its listeners go, without losing what it has accepted (not when stubborn). With
$SAYS_READY it reports to NOTIFY_SOCKET that it serves, and its heartbeat if one is configured.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sized
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

BACKLOG = 4096
FIRST_DESCRIPTOR = 3
MOMENT = 0.05
HANDSHAKES_WITHIN = 0.5
GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"


def nothing() -> None:
    """What most workers do about a new connection, beyond serving it."""


def die_soon() -> None:
    def die() -> None:
        print("the cache is corrupt", flush=True)
        os._exit(4)

    asyncio.get_running_loop().call_later(MOMENT, die)


def shut_down(slots: list[socket.socket]) -> Callable[[], None]:
    """What must not be done to a shared socket: no client can connect afterwards."""

    def do() -> None:
        for sock in slots:
            sock.shutdown(socket.SHUT_RDWR)
        os._exit(5)

    return do


def eat() -> None:
    taken = []
    while True:
        taken.append(bytearray(1 << 20))


def wait_at_the_gate() -> None:
    print("waiting at the gate", flush=True)
    while not Path(os.environ["GATE"]).exists():
        time.sleep(MOMENT)


class Raw(asyncio.Protocol):
    """Says who it is and waits for the client to close."""

    def __init__(self, on_connection: Callable[[], None]) -> None:
        self._on_connection = on_connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(f"{GREETING}\n".encode())
        self._on_connection()


async def echo(connection: ServerConnection) -> None:
    await connection.send(GREETING)
    async for message in connection:
        await connection.send(message)


async def talk_nonsense(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message[::-1])


def answers(
    variant: str,
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """How a request is answered before the handshake: None lets it continue."""

    async def answer(connection: ServerConnection, request: Request) -> Response | None:
        if variant == "never_answers":
            await asyncio.sleep(3600)
        if variant == "answers_500":
            return connection.respond(500, "no database\n")
        return connection.respond(200, "fine\n") if request.path == "/healthz" else None

    return answer


def inherited() -> dict[str, list[socket.socket]]:
    """Listener name -> its inherited sockets."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise SystemExit(f"LISTEN_PID is {os.environ.get('LISTEN_PID')}, not {os.getpid()}")
    names = os.environ["LISTEN_FDNAMES"].split(":")
    found: dict[str, list[socket.socket]] = {}
    for offset, name in enumerate(names[: int(os.environ["LISTEN_FDS"])]):
        found.setdefault(name, []).append(socket.socket(fileno=FIRST_DESCRIPTOR + offset))
    return found


def note_start() -> None:
    """Leave (pid, when the process began, when it could serve), for tests that measure starts."""
    directory = os.environ.get("STARTS")
    if directory:
        stat = Path("/proc/self/stat").read_text(encoding="ascii")
        ticks = int(stat.rpartition(")")[2].split()[19])
        begun = ticks / os.sysconf("SC_CLK_TCK")
        offset = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        times = f"{begun - offset} {time.monotonic()}\n"
        Path(directory, str(os.getpid())).write_text(times, encoding="ascii")


def let_go(loop: asyncio.AbstractEventLoop, sockets: list[socket.socket]) -> None:
    """Accept nothing more. Closing the server would lose what is accepted and not served yet."""
    null = os.open(os.devnull, os.O_RDONLY)
    for sock in sockets:
        loop.remove_reader(sock.fileno())
        os.dup2(null, sock.fileno())
    os.close(null)


def handshakes(server: Server) -> bool:
    """Whether a client is connected that has no WebSocket yet."""
    # What runs for each that was accepted: its name until websockets 16, and from 17 on.
    running: Sized = getattr(server, "handlers" if hasattr(server, "handlers") else "handler_tasks")
    return len(running) > len(server.connections)


async def finish_handshakes(servers: list[Server]) -> None:
    """Clients that were accepted get an answer: `close` would refuse it."""
    until = time.monotonic() + HANDSHAKES_WITHIN
    await asyncio.sleep(MOMENT)  # asyncio has accepted some that it has not reported yet
    while time.monotonic() < until and any(map(handshakes, servers)):
        await asyncio.sleep(MOMENT / 10)


def say(what: bytes) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address and os.environ.get("SAYS_READY"):
        # As sd_notify(3): a missing receiver is no failure.
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
            contextlib.suppress(OSError),
        ):
            notify.connect(address.replace("@", "\0", 1))
            notify.send(what)


def say_alive(loop: asyncio.AbstractEventLoop, every: float) -> None:
    say(b"WATCHDOG=1")
    loop.call_later(every, say_alive, loop, every)


async def run(variant: str) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    if variant == "stubborn":
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
            if number < signal.SIGRTMIN:
                signal.signal(number, signal.SIG_IGN)
    else:
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    slots = inherited()
    if variant != "stubborn":
        listening = [sock for sockets in slots.values() for sock in sockets]
        loop.add_signal_handler(signal.SIGUSR1, let_go, loop, listening)
    if variant == "greedy":
        loop.add_signal_handler(signal.SIGUSR2, eat)
    on_connection = die_soon if variant == "ready_then_dead" else nothing
    if variant == "shuts_down":
        on_connection = shut_down(slots["raw"])
    polite: list[Server] = []
    for name, sockets in slots.items():
        for sock in sockets:
            if name == "raw":
                await loop.create_server(lambda: Raw(on_connection), sock=sock, backlog=BACKLOG)
            else:
                # Pings to thousands of held clients would drown what is measured.
                polite.append(
                    await serve(
                        talk_nonsense if variant == "nonsense" else echo,
                        sock=sock,
                        backlog=BACKLOG,
                        compression=None,
                        ping_interval=None,
                        process_request=answers(variant),
                    )
                )
    note_start()
    say(b"READY=1")
    if os.environ.get("WATCHDOG_PID") == str(os.getpid()):
        say_alive(loop, int(os.environ["WATCHDOG_USEC"]) / 3e6)
    await ended.wait()
    let_go(loop, [sock for server in polite for sock in server.sockets])
    await finish_handshakes(polite)
    for server in polite:
        server.close()
        await server.wait_closed()


def main() -> None:
    variant = sys.argv[1]
    if variant == "orphans":
        os.spawnlp(os.P_WAIT, "sh", "sh", "-c", "sleep 0.3 & echo left $!")
    if variant == "gated":
        wait_at_the_gate()
    # A probe connects and closes without a handshake; websockets would print a traceback each time.
    logging.getLogger("websockets").addHandler(logging.NullHandler())
    logging.getLogger("websockets").propagate = False
    asyncio.run(run(variant))


main()
