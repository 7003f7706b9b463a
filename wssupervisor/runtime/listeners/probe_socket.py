"""Connections of our own to a listener, and where they arrive."""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from wssupervisor.errors import Unreachable
from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.kernel.inet_diag import Endpoint
from wssupervisor.runtime.listeners.reach import SO_BINDTODEVICE
from wssupervisor.runtime.listeners.tcp_pool import Slot, TcpPool

CONNECT_SECONDS = 0.5
"""Limit of a handshake over loopback, which takes microseconds unless the queue is full."""
GROWN_SECONDS = 0.02
IP_BIND_ADDRESS_NO_PORT = 24


def longer_queues(before: Mapping[SlotId, int], candidates: Sequence[Slot]) -> list[Slot]:
    """Return slots whose queue has grown. Waits a moment: the count may lag behind an arrival."""
    until = time.monotonic() + GROWN_SECONDS
    while True:
        grown = [slot for slot in candidates if slot.queued() > before[slot.inode]]
        if grown or time.monotonic() >= until:
            return grown


@contextmanager
def marked(slot: Slot) -> Iterator[None]:
    """Within the context, mark connections that arrive in this slot: see `DiagSocket.marked`."""
    slot.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        yield
    finally:
        slot.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0)


@contextmanager
def probe_socket(pool: TcpPool) -> Iterator[tuple[socket.socket, Endpoint]]:
    """A client socket with a source address of its own, and a timeout of CONNECT_SECONDS.

    Its connection is remembered as ours, at the latest when the context ends. Raises Unreachable.
    """
    reach = pool.reach
    with socket.socket(pool.family, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_SECONDS)
        try:
            if reach.device:
                client.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, reach.device)
            client.bind(reach.source)
        except OSError as error:
            raise Unreachable(
                f"listener {pool.name!r}: cannot connect to {reach.host}: {error.strerror}. Check"
                " that an interface of this machine still has that address"
            ) from error
        host, port = client.getsockname()[:2]
        source = (host.partition("%")[0], port)
        try:
            yield client, source
        finally:
            with suppress(OSError):
                pool.own.remember(source)
