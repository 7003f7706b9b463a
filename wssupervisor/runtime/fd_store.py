"""systemd's file descriptor store: stores descriptors, and takes them back at a start."""

import os
import select
import socket
from collections.abc import Iterable, Sequence

from wssupervisor.fleet.model import WorkerId
from wssupervisor.runtime.systemd import Passed
from wssupervisor.systemd_protocol import notify

STORED = "wss-"
"""Prefix of our names in systemd's file descriptor store."""
STORED_AT_ONCE = 200
"""Descriptors per message. The kernel allows at most 253 (SCM_MAX_FD)."""
BARRIER_SECONDS = 5.0
CONTROL = "control"
"""Name of the control socket in the store."""


class RestoredFds:
    """Descriptors from systemd's store, by name; owns those that were not taken."""

    def __init__(self, passed: Iterable[Passed]) -> None:
        self._by_name: dict[str, list[int]] = {}
        for given in passed:
            self._by_name.setdefault(given.name.removeprefix(STORED), []).append(given.descriptor)
        self.names = frozenset(self._by_name)

    def take(self, name: str, kind: str) -> int | None:
        """Return the first descriptor of that name whose link in /proc contains `kind`, or None."""
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
    """The descriptor's kind, for `RestoredFds.take`: its socket type or its link in /proc."""
    link = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
    if not link.startswith("socket:"):
        return link
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return sock.type.name


def split(passed: Sequence[Passed]) -> tuple[list[Passed], RestoredFds]:
    """Split descriptors into sockets of units, and those that a supervisor had stored."""
    own = [one for one in passed if one.name.startswith(STORED)]
    return [one for one in passed if not one.name.startswith(STORED)], RestoredFds(own)


def worker_name(worker: WorkerId) -> str:
    """Name of a worker's descriptors in the store."""
    return f"worker-{worker}"


def slots_name(listener: str) -> str:
    """Name in the store for the slots of a listener that the supervisor bound."""
    return f"slots-{listener}"


class FdStore:
    """systemd's file descriptor store: a successor gets the stored descriptors by name.

    Without a store every call does nothing; `available` shows whether there is a store.
    """

    def __init__(self) -> None:
        # systemd sets FDSTORE since version 254. Under older versions, always try.
        limit = os.environ.get("FDSTORE", "1" if "INVOCATION_ID" in os.environ else "0")
        self.available = "NOTIFY_SOCKET" in os.environ and limit not in ("", "0")
        self.confirmed = False
        """Whether systemd has received everything that was stored before the last `settle`."""

    def put(self, name: str, descriptors: Sequence[int]) -> None:
        """Store any number of descriptors under a name; systemd stores duplicates only once."""
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
        """Wait until systemd has received everything stored; `confirmed` shows whether it has."""
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
