"""The listening sockets that a worker was given, and how to let them go without a loss."""

import asyncio
import os
import socket
from collections.abc import Iterable

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
    """Accept nothing more from them, and lose nothing that was accepted.

    Closing an asyncio server instead loses connections that were accepted and not yet attached (14
    of 62,000 at 2,000 a second; PLATFORM.md of the project measured it). The descriptors stay open,
    as /dev/null: the server that owns them may close them later.
    """
    loop = asyncio.get_running_loop()
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for sock in sockets:
            loop.remove_reader(sock.fileno())
            os.dup2(null, sock.fileno(), inheritable=False)
    finally:
        os.close(null)
