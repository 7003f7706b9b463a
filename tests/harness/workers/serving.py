"""The test application: greets raw connections, echoes on WebSockets, on every slot it was given.

Its one argument says how it behaves:
    well              serves until it is told to end
    stubborn          ignores every signal but SIGKILL and never stops accepting
    ready_then_dead   serves, and dies a moment after its first connection
    shuts_down        shuts its listeners down at the first connection, and ends
    orphans           leaves a process behind that ends a moment later
    gated             serves only from when the file $GATE exists: the test opens the gate

On SIGUSR1 it lets its listeners go, without losing what it has accepted (not when stubborn). With
$SAYS_READY it tells its NOTIFY_SOCKET when it serves.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from websockets.asyncio.server import Server, ServerConnection, serve

BACKLOG = 4096
FIRST_DESCRIPTOR = 3
MOMENT = 0.05
GREETING = f"generation {os.environ.get('WSSUPERVISOR_GENERATION', '0')} process {os.getpid()}"


def nothing() -> None:
    """What most workers do about a new connection, beyond serving it."""


def die_soon() -> None:
    def die() -> None:
        print("the cache is corrupt", flush=True)
        os._exit(4)

    asyncio.get_running_loop().call_later(MOMENT, die)


def shut_down(slots: list[socket.socket]) -> Callable[[], None]:
    """What must not be done to a socket that others share: nobody can connect any more."""

    def do() -> None:
        for sock in slots:
            sock.shutdown(socket.SHUT_RDWR)
        os._exit(5)

    return do


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


def say_ready() -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address and os.environ.get("SAYS_READY"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.connect(address.replace("@", "\0", 1))
            notify.send(b"READY=1")


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
                        echo, sock=sock, backlog=BACKLOG, compression=None, ping_interval=None
                    )
                )
    note_start()
    say_ready()
    await ended.wait()
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
