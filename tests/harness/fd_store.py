"""Plays systemd's part towards a service: takes what it stores, and hands it to its next start."""

import contextlib
import fcntl
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.harness.sockets import FIRST_FREE, START, HeldSockets

MESSAGE_BYTES = 4096
DESCRIPTORS_MAX = 253
JOIN_WITHIN = 5.0


class FdStore:
    """A NOTIFY_SOCKET with a file descriptor store behind it, and the sockets of a unit, if any."""

    def __init__(self, sockets: HeldSockets | None = None, *, removes_after: float = 0.0) -> None:
        """`removes_after`: seconds that it is too busy for each removal, as systemd can be."""
        self._removes_after = removes_after
        self._sockets = sockets
        self._place = tempfile.TemporaryDirectory(prefix="wss-")
        self._address = str(Path(self._place.name, "notify"))
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(self._address)
        self._lock = threading.Lock()
        self._stored: list[tuple[str, int]] = []
        self._said: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"END=1", self._address)
        self._thread.join(JOIN_WITHIN)
        self._notify.close()
        for _, descriptor in self._stored:
            os.close(descriptor)
        self._place.cleanup()

    @property
    def variables(self) -> dict[str, str]:
        """What a service's environment has of it."""
        return {"NOTIFY_SOCKET": self._address, "FDSTORE": "1000"}

    def names(self) -> list[str]:
        with self._lock:
            return sorted(name for name, _ in self._stored)

    def said(self, what: str) -> int:
        """How often it said so."""
        with self._lock:
            return self._said.count(what)

    def wrap(self, command: list[str]) -> tuple[list[str], list[int]]:
        """As `HeldSockets.wrap`, with what is stored; the last that was stored comes first."""
        held = [] if self._sockets is None else self._sockets.named()
        with self._lock:
            all_of_it = held + [(name, descriptor) for name, descriptor in reversed(self._stored)]
            passed = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE) for _, fd in all_of_it]
        if not passed:
            return command, []
        fds = ",".join(map(str, passed))
        names = ":".join(name for name, _ in all_of_it)
        return [sys.executable, "-S", str(START), fds, names, *command], passed

    def _run(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._notify, MESSAGE_BYTES, DESCRIPTORS_MAX)
            lines = data.decode().splitlines()
            values = dict(line.split("=", 1) for line in lines)
            if "FDSTOREREMOVE" in values:
                time.sleep(self._removes_after)
            if "END" in values:
                return
            with self._lock:
                self._said += lines
                if "FDSTOREREMOVE" in values:
                    self._remove(values["FDNAME"])
                elif "FDSTORE" in values:
                    assert values["FDPOLL"] == "0"
                    self._add(values["FDNAME"], descriptors)
                    continue
            for descriptor in descriptors:  # of a BARRIER=1: closing it is the answer
                os.close(descriptor)

    def _add(self, name: str, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            if any(_same(descriptor, other) for _, other in self._stored):
                os.close(descriptor)
            else:
                self._stored.append((name, descriptor))

    def _remove(self, name: str) -> None:
        for one in list(self._stored):
            if one[0] == name:
                self._stored.remove(one)
                with contextlib.suppress(OSError):
                    os.close(one[1])


def _same(one: int, other: int) -> bool:
    link = str(Path(f"/proc/self/fd/{one}").readlink())  # before Linux 6.9 all pidfds are one file
    return "anon_inode" not in link and os.path.sameopenfile(one, other)
