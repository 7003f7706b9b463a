"""What came back from systemd's file descriptor store at a start."""

import os
import select
import socket
from collections.abc import Iterable, Sequence

from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.systemd import Passed
from wssupervisor.systemd_protocol import notify

STORED = "wss-"
"""How the names of what we put into systemd's file descriptor store begin."""
STORED_AT_ONCE = 200
"""One message carries 253 descriptors at the most (SCM_MAX_FD)."""
BARRIER_SECONDS = 5.0
CONTROL = "control"
"""Name of the control socket in the store."""


class RestoredFds:
    """What came back from systemd's store, by name; owns what nobody has taken."""

    def __init__(self, passed: Iterable[Passed]) -> None:
        self._by_name: dict[str, list[int]] = {}
        for one in passed:
            self._by_name.setdefault(one.name.removeprefix(STORED), []).append(one.descriptor)
        self.names = frozenset(self._by_name)

    def take(self, name: str, kind: str) -> int | None:
        """The first descriptor of that name whose link in /proc contains `kind`."""
        for descriptor in self._by_name.get(name, []):
            if kind in _kind(descriptor):
                self._by_name[name].remove(descriptor)
                return descriptor
        return None

    def take_all(self, name: str) -> list[int]:
        return self._by_name.pop(name, [])

    def close(self) -> None:
        for descriptors in self._by_name.values():
            for descriptor in descriptors:
                os.close(descriptor)
        self._by_name.clear()


def _kind(descriptor: int) -> str:
    """What it is, in a word that `RestoredFds.take` can be asked for."""
    link = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    if not link.startswith("socket:"):
        return link
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return sock.type.name


def split(passed: Sequence[Passed]) -> tuple[list[Passed], RestoredFds]:
    """Sockets of units, and what we had stored ourselves."""
    own = [one for one in passed if one.name.startswith(STORED)]
    return [one for one in passed if not one.name.startswith(STORED)], RestoredFds(own)


def worker_name(worker: WorkerId) -> str:
    """Name of a worker's descriptors in the store."""
    return f"worker-{worker}"


def slots_name(listener: str) -> str:
    """Name of the slots, in the store, of a listener that we bound."""
    return f"slots-{listener}"


class FdStore:
    """systemd's file descriptor store: what lies there under a name comes back after our death.

    Every call is harmless where there is none; `available` says whether there is one.
    """

    def __init__(self) -> None:
        # systemd tells since version 254; before that all that runs as a service may try.
        limit = os.environ.get("FDSTORE", "1" if "INVOCATION_ID" in os.environ else "0")
        self.available = "NOTIFY_SOCKET" in os.environ and limit not in ("", "0")
        self.confirmed = False
        """systemd has taken in all that was put there before the last `settle`."""

    def put(self, name: str, descriptors: Sequence[int]) -> None:
        """Under one name as many as one likes; what is there already is not stored twice."""
        if not self.available:
            return
        for at in range(0, len(descriptors), STORED_AT_ONCE):
            # Without FDPOLL=0 systemd would drop the pidfd of a process as soon as it has ended.
            some = list(descriptors[at : at + STORED_AT_ONCE])
            notify(f"FDSTORE=1\nFDPOLL=0\nFDNAME={STORED}{name}", some)

    def drop(self, names: Iterable[str]) -> None:
        if self.available:
            for name in names:
                notify(f"FDSTOREREMOVE=1\nFDNAME={STORED}{name}")

    def settle(self) -> None:
        """Wait until systemd has taken in all that was put there: `confirmed` says whether."""
        if not self.available:
            return
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            notify("BARRIER=1", [theirs])
            os.close(theirs)
            theirs = -1
            poll = select.poll()
            poll.register(ours, 0)
            self.confirmed = bool(poll.poll(BARRIER_SECONDS * 1000))
        finally:
            os.close(ours)
            if theirs >= 0:
                os.close(theirs)
