"""sd_notify datagrams, sent to a worker's real notify socket, with descriptors attached to some."""

import array
import os
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

from tests.fuzz import inputs
from tests.fuzz.target import Target, Wrong, directory
from wssupervisor.runtime.workers.notify_socket import (
    STATUS_CHARS,
    Malformed,
    Notification,
    NotifySocket,
)

REASON_CHARS = 320
CLOSED_WITHIN = 5.0
LOOKS_MAX = 10


@dataclass(frozen=True, slots=True)
class Datagram:
    """`means`: how it must be read, where that is known; else only rules hold."""

    data: bytes
    descriptors: int = 0
    means: Notification | None = None
    malformed: bool = False


class Notify(Target[list[Datagram]]):
    name = "notify"
    fails = (
        "a datagram is misread; READY=1 is reported although it was not sent; a status or a reason"
        " can act on a terminal or is long; a descriptor is kept"
    )

    def open(self, stack: ExitStack) -> None:
        self._directory = directory(stack)
        self._socket = NotifySocket.create(str(self._directory / "notify"))
        stack.callback(self._socket.close)
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._sender = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        self._sender.connect(self._socket.address)
        self._open = count_open()

    def make(self, random: Random) -> list[Datagram]:
        return [_datagram(random) for _ in range(random.choice((1, 1, 2, 8)))]

    def judge(self, given: list[Datagram]) -> None:
        for datagram in given:
            self._send(datagram)
            found: list[Notification | Malformed] = []
            for _ in range(LOOKS_MAX):
                found = self._socket.receive(lambda _: True)
                if found:
                    break
            if len(found) != 1:
                raise Wrong(f"one datagram was read as {found}")
            _judge(datagram, found[0])
        judge_open(self._open)

    def _send(self, datagram: Datagram) -> None:
        with open(os.devnull, "rb") as null:  # noqa: PTH123 - for its descriptor
            rights = array.array("i", [null.fileno()] * datagram.descriptors)
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if rights else []
            self._sender.sendmsg([datagram.data], control)


def _datagram(random: Random) -> Datagram:
    descriptors = random.choice((0, 0, 0, 1, 3, 16, 40))
    match random.randrange(5):
        case 0 | 1:
            said = {name: random.random() < 0.4 for name in ("READY", "STOPPING", "WATCHDOG")}
            text = inputs.text(random).replace("\n", " ")
            means = Notification(
                ready=said["READY"], stopping=said["STOPPING"], watchdog=said["WATCHDOG"]
            )
            lines = [f"{name}=1" for name, one in said.items() if one]
            lines += random.sample(
                ["MAINPID=1", "EXTEND_TIMEOUT_USEC=1", "ERRNO=2", "X=READY=1"], 2
            )
            random.shuffle(lines)
            lines += [f"STATUS={text}"] if (whole := _is_plain(text)) else []
            if whole:
                means = Notification(means.ready, means.stopping, means.watchdog, text)
            return Datagram("\n".join(lines).encode(), descriptors, means)
        case 2:
            name = random.choice(("READY", "STOPPING", "WATCHDOG"))
            word = random.choice(("0", "2", "yes", " 1", "1 ", "", "01", "\uff11", "1\r"))
            return Datagram(f"X=1\n{name}={word}".encode(), descriptors, malformed=True)
        case 3:
            data = inputs.mutated(random, b"READY=1\nSTATUS=it serves\nWATCHDOG=1\n")
            return Datagram(data[:60_000], descriptors)
        case _:
            return Datagram(random.randbytes(random.choice((0, 1, 60, 5000))), descriptors)


def _is_plain(text: str) -> bool:
    """A status that is shown as it is."""
    return text.isprintable() and len(text) <= STATUS_CHARS


def _judge(datagram: Datagram, found: Notification | Malformed) -> None:
    if isinstance(found, Malformed):
        if datagram.means is not None:
            raise Wrong(f"it is right, and was refused: {found.reason}")
        if not found.reason.isprintable() or len(found.reason) > REASON_CHARS:
            raise Wrong(f"the reason is not short and printable: {ascii(found.reason)[:300]}")
        return
    if datagram.malformed or (datagram.means is not None and found != datagram.means):
        raise Wrong(f"it was read as {found}")
    for name, heard in (("READY", found.ready), ("STOPPING", found.stopping)):
        if heard and f"{name}=1".encode() not in datagram.data.split(b"\n"):
            raise Wrong(f"{name}=1 was heard")
    if found.status is not None and not _is_plain(found.status):
        raise Wrong(f"the status is not short and printable: {ascii(found.status)[:300]}")


def count_open() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def judge_open(before: int) -> None:
    """They are closed by a thread of its own. Raises Wrong."""
    until = time.monotonic() + CLOSED_WITHIN
    while (kept := count_open() - before) > 0 and time.monotonic() < until:
        time.sleep(0.001)
    if kept > 0:
        raise Wrong(f"{kept} descriptors were kept")
