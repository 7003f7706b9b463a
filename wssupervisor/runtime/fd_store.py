"""What came back from systemd's file descriptor store at a start."""

import os
import socket
from collections.abc import Iterable, Sequence

from wssupervisor.runtime.systemd import STORED, Passed


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
