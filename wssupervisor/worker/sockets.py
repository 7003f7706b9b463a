"""The inherited listening sockets of a worker, and how to release them without a loss."""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Iterable
from pathlib import Path

FIRST_DESCRIPTOR = 3


class NotGiven(RuntimeError):
    """This process inherited no listening sockets, or none of that name."""


def adopt() -> dict[str, list[socket.socket]]:
    """Return all inherited listening sockets by the name of their listener, non-blocking.

    Removes the variables of socket activation, so that a child process does not use them. Raises
    NotGiven if they are missing or meant for another process.
    """
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count.isdecimal() or pid != str(os.getpid()):
        raise NotGiven(
            "this process inherited no listening sockets (LISTEN_FDS, LISTEN_PID). Start it with"
            " wssupervisor, or give it its own address"
        )
    found: dict[str, list[socket.socket]] = {}
    for at in range(int(count)):
        sock = socket.socket(fileno=FIRST_DESCRIPTOR + at)
        sock.setblocking(False)
        sock.set_inheritable(False)
        name = names[at] if at < len(names) else "unknown"
        found.setdefault(name, []).append(sock)
    return found


def release_sockets(sockets: Iterable[socket.socket]) -> None:
    """Stop accepting from them without losing a connection that was accepted.

    Closing an asyncio server loses connections that were accepted and not yet attached: 14 of
    62,000 at 2,000 a second (docs/internals/platform.md#releasing-a-shared-socket). Here the
    descriptors stay open, as sockets that no client can find: their server may close them later.
    """
    loop = asyncio.get_running_loop()
    for sock in sockets:
        loop.remove_reader(sock.fileno())
        _forget(sock.fileno())
        with _quiet() as quiet:
            os.dup2(quiet.fileno(), sock.fileno(), inheritable=False)


def _quiet() -> socket.socket:
    """Return a socket that no client can reach: `accept` on it finds nothing.

    A loop that saw a client in the same turn may accept after us; /dev/null would be an error.
    """
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    found.bind("")  # a name that the kernel chooses
    found.listen(0)
    return found


def _forget(descriptor: int) -> None:
    """Remove the descriptor from every epoll of this process: uvloop, for example, has its own.

    The kernel keeps reporting on a registered socket while any process has it open, as the
    supervisor has. Once the descriptor is another file it can no longer be removed (epoll(7)),
    and the loop would spin.
    """
    for number in _epolls():
        try:
            watched = Path(f"/proc/self/fdinfo/{number}").read_text(encoding="ascii")
        except OSError:
            continue
        if any(line.split()[:2] == ["tfd:", str(descriptor)] for line in watched.splitlines()):
            with select.epoll.fromfd(os.dup(number)) as epoll, contextlib.suppress(OSError):
                epoll.unregister(descriptor)


def _epolls() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # the descriptor of the listing itself is closed again
            if "[eventpoll]" in os.readlink(f"/proc/self/fd/{name}"):  # noqa: PTH115
                found.append(int(name))
    return found
