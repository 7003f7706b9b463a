"""The listening sockets that a worker was given, and how to let them go without a loss."""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Iterable
from pathlib import Path

FIRST_DESCRIPTOR = 3


class NotGiven(RuntimeError):
    """This process was given no listening sockets, or none of that name."""


def adopt() -> dict[str, list[socket.socket]]:
    """All inherited listening sockets by the name of their listener, non-blocking.

    The variables of socket activation are consumed: a child of this process does not take them for
    its own. Raises NotGiven where they are missing or meant for another process.
    """
    count, pid = os.environ.pop("LISTEN_FDS", ""), os.environ.pop("LISTEN_PID", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count.isdecimal() or pid != str(os.getpid()):
        raise NotGiven(
            "no listening sockets were passed to this process (LISTEN_FDS, LISTEN_PID): start it"
            " by wssupervisor, or give it an address of its own"
        )
    found: dict[str, list[socket.socket]] = {}
    for at in range(int(count)):
        sock = socket.socket(fileno=FIRST_DESCRIPTOR + at)
        sock.setblocking(False)
        sock.set_inheritable(False)
        name = names[at] if at < len(names) else "unknown"
        found.setdefault(name, []).append(sock)
    return found


def let_go(sockets: Iterable[socket.socket]) -> None:
    """Stop accepting from them without losing a connection that was accepted.

    Closing an asyncio server loses connections that were accepted and not yet attached: 14 of
    62,000 at 2,000 a second (docs/internals/platform.md#letting-a-shared-socket-go). Here the
    descriptors stay open, as sockets that no client can find: their server may close them later.
    """
    loop = asyncio.get_running_loop()
    for sock in sockets:
        loop.remove_reader(sock.fileno())
        _forget(sock.fileno())
        with _quiet() as quiet:
            os.dup2(quiet.fileno(), sock.fileno(), inheritable=False)


def _quiet() -> socket.socket:
    """One to which no client comes: `accept` finds nothing, where /dev/null would be an error.

    A loop may have been told of a client in the same turn, and accepts after us.
    """
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    found.bind("")  # a name that the kernel chooses
    found.listen(0)
    return found


def _forget(descriptor: int) -> None:
    """Take it out of every epoll of this process: a loop in C, such as uvloop, has its own.

    The kernel goes on to report on what was registered while anybody has it open, as the supervisor
    does, and nothing could take it out once the descriptor is another file (epoll(7)): the loop
    would spin.
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
        with contextlib.suppress(OSError):  # the one that listed them is closed again
            if "[eventpoll]" in os.readlink(f"/proc/self/fd/{name}"):  # noqa: PTH115
                found.append(int(name))
    return found
