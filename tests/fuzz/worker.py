"""A worker that sends bursts of anything to a real daemon, which must keep serving others."""

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from random import Random

import psutil

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.fuzz import inputs
from tests.fuzz.channel import FROM_SUPERVISOR, MESSAGES
from tests.fuzz.stage import GROWTH_BYTES, STUMBLES
from tests.fuzz.target import Target, Wrong, directory
from tests.harness.census import own_clock
from tests.harness.daemon import Daemon
from tests.harness.releases import Releases
from tests.harness.settings import Settings
from wssupervisor.control.client import Client
from wssupervisor.runtime.kernel.pidfd import share
from wssupervisor.worker import protocol

ANSWER_SECONDS = 5.0
"""Without the time in which other programs had the processors."""
BURSTS = (1, 1, 5, 5000)
SEND_SECONDS = 0.5
LOGGED_BYTES = 64 << 10
"""What the daemon may log of one burst."""
RESTART = '[restart]\nbackoff = "10ms"\nbackoff_max = "100ms"'
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Burst:
    """`notify`: to the notify socket; else over the library's channel."""

    messages: tuple[bytes, ...]
    times: int
    notify: bool


class LyingWorker(Target[Burst]):
    name = "worker"
    fails = (
        "status is not answered within 5 s after a burst; the daemon logs more than 64 KiB for"
        " one; an internal error of the daemon; it exits, grows or keeps a descriptor, or has no"
        " ready worker"
    )

    def open(self, stack: ExitStack) -> None:
        root = directory(stack)
        releases = Releases(root)
        releases.install("one", "polite")
        own = Settings(f"liar-{os.getpid()}-{next(_numbers)}", releases, workers=1)
        self._daemon = Daemon(replace(own, listeners=("ws",), more=RESTART))
        stack.enter_context(self._daemon)
        self._daemon.start()
        self._client = Client(str(self._daemon.control))
        self._client.patience = HANG_SECONDS
        self._process = psutil.Process(self._daemon.pid())
        self._descriptors = self._process.num_fds()
        self._memory = self._process.memory_info().rss
        self._channel: tuple[int, socket.socket] | None = None
        stack.callback(self._close_channel)

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel[1].close()

    def make(self, random: Random) -> Burst:
        notify = random.random() < 0.5
        make = _datagram if notify else _message
        messages = tuple(make(random) for _ in range(random.randrange(1, 4)))
        return Burst(messages, random.choice(BURSTS), notify)

    def judge(self, given: Burst) -> None:
        pid = self._worker()
        logged = len(self._daemon.log())
        if given.notify:
            with self._notify_socket(pid) as sender:
                _send(sender, given)
        elif not _send(self._channel_of(pid), given):
            os.kill(pid, signal.SIGKILL)  # closed for what it said: the next one has a new one
            self._wait(lambda: self._worker() != pid, "another worker")
        began = own_clock(self._process.pid)
        self._client.call("status")
        if (took := own_clock(self._process.pid) - began) > ANSWER_SECONDS:
            raise Wrong(f"status took {took:.1f} s")
        if (grown := len(self._daemon.log()) - logged) > LOGGED_BYTES:
            raise Wrong(f"the daemon logged {grown} characters")

    def check(self) -> None:
        if self._daemon.process.poll() is not None:
            raise Wrong(f"the daemon exited: {self._daemon.log()[-1500:]}")
        self._worker()
        if (memory := self._process.memory_info().rss) > self._memory + GROWTH_BYTES:
            raise Wrong(f"{self._memory} bytes of memory became {memory}")
        self._wait(  # those of workers that have just ended go with them
            lambda: self._process.num_fds() <= self._descriptors + 5,
            f"as few descriptors as before, {self._descriptors}",
        )
        log = self._daemon.log()
        if stumbled := next((one for one in STUMBLES if one in log), None):
            at = log.index(stumbled)
            raise Wrong(f"internal error in the daemon: {log[max(0, at - 300) : at + 1500]}")

    def _worker(self) -> int:
        """The pid of a ready one; one may have been ended for what it said."""
        found: list[int] = []

        def ready() -> bool:
            document = self._client.call("status")
            workers = document["generations"][0]["workers"]
            found[:] = [one["pid"] for one in workers if one["state"] == "ready"]
            return bool(found) and document["state"] == "serving"

        self._wait(ready, "a ready worker")
        return found[0]

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        try:
            wait_until(condition, what=what, every=0.05)
        except AssertionError as error:
            raise Wrong(str(error)) from error

    def _notify_socket(self, pid: int) -> socket.socket:
        variables = psutil.Process(pid).environ()
        address = variables["NOTIFY_SOCKET"].replace("@", "\0", 1)
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sender.connect(address)
        return sender

    def _channel_of(self, pid: int) -> socket.socket:
        """The worker's own end, taken from it; a worker whose channel was closed is replaced."""
        if self._channel is None or self._channel[0] != pid:
            if self._channel is not None:
                self._channel[1].close()
            number = int(psutil.Process(pid).environ()["WSSUPERVISOR_CHANNEL"])
            own = socket.socket(fileno=share(pid, number))
            own.setblocking(False)
            self._channel = pid, own
        return self._channel[1]


def _send(sender: socket.socket, burst: Burst) -> bool:
    """Send for a while, as fast as the daemon reads. Returns False if no process listens."""
    sender.settimeout(SEND_SECONDS)
    until = time.monotonic() + SEND_SECONDS
    for _ in range(burst.times):
        for message in burst.messages:
            try:
                sender.send(message[:60_000])
            except TimeoutError:
                return True
            except OSError:
                return False
        if time.monotonic() > until:
            break
    return True


def _datagram(random: Random) -> bytes:
    match random.randrange(4):
        case 0:
            words = ("READY=1", "WATCHDOG=1", "STATUS=\x1b[2J", "STOPPING=1", "MAINPID=1", "X=")
            return "\n".join(random.sample(words, 2)).encode()
        case 1:
            return inputs.mutated(random, b"STATUS=it serves\nREADY=1\n")
        case 2:
            return f"STATUS={inputs.text(random)}".encode(errors="replace")
        case _:
            return random.randbytes(random.choice((1, 100, 5000)))


def _message(random: Random) -> bytes:
    match random.randrange(4):
        case 0 | 1:
            message = random.choice(MESSAGES)
            return protocol.encode(message)
        case 2:
            return json.dumps(random.choice(FROM_SUPERVISOR)).encode() + b"\n"
        case _:
            return inputs.mutated(random, b'{"type": "counts", "open": 3, "busy": 1}\n')
