"""Descriptors that others send to the daemon hold up nothing, however long their close takes."""

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from examples.load.waiting import wait_until
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.foreign import SCM_MAX_FD, WAITING_MAX
from wssupervisor.runtime.kernel.pidfd import share

LINGER_SECONDS = 3600
"""What waits for one of these closes hangs."""
MESSAGES = 12
CHANNEL = "WSSUPERVISOR_CHANNEL"


class Lingering:
    """Makes sockets whose last close takes LINGER_SECONDS: what they sent is never read."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def make(self) -> socket.socket:
        one = socket.create_connection(self._listening.getsockname())
        peer, _ = self._listening.accept()
        self._stack.callback(peer.close)
        one.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                one.send(bytes(1 << 20))
        _linger(one, LINGER_SECONDS)
        return one

    def send(self, daemon: Daemon, sender: socket.socket, data: bytes) -> bool:
        """Along with one that no other process has then; False if that is refused."""
        one = self.make()
        daemon.signal(signal.SIGSTOP)  # or ours might be the last close
        try:
            socket.send_fds(sender, [data], [one.fileno()])
        except PermissionError:
            _linger(one, 0)
            return False
        finally:
            one.close()
            daemon.signal(signal.SIGCONT)
        return True

    def end(self) -> None:
        """Closing one of them no longer blocks."""
        self._stack.close()


def _linger(one: socket.socket, seconds: int) -> None:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, seconds))


@pytest.fixture
def lingering() -> Iterator[Lingering]:
    with ExitStack() as stack:
        yield Lingering(stack)


def to_notify(daemon: Daemon) -> socket.socket:
    """The socket of its worker."""
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect(f"{daemon.control}.notify.1.0.1")
    return sender


def to_control(daemon: Daemon) -> socket.socket:
    sender = socket.socket(socket.AF_UNIX)
    sender.connect(str(daemon.control))
    return sender


def to_http(daemon: Daemon) -> socket.socket:
    sender = socket.socket(socket.AF_UNIX)
    sender.connect(str(daemon.private / "http.sock"))
    return sender


def to_channel(daemon: Daemon) -> socket.socket:
    """Its worker's end, as if the worker sent."""
    (worker,) = daemon.workers()
    environ = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    number = next(int(one.split(b"=")[1]) for one in environ if one.startswith(CHANNEL.encode()))
    return socket.socket(fileno=share(worker.pid, number))


WAYS: dict[str, tuple[Callable[[Daemon], socket.socket], bytes]] = {
    "notify": (to_notify, b"BARRIER=1"),
    "control": (to_control, b'{"id": 1, "method": "status"}'),
    "http": (to_http, b"GET /livez HTTP/1.1\r\n"),
    "channel": (to_channel, b"{}"),
}


@pytest.fixture(params=[None, "passrights"], ids=["refused", "kernel-before-6.16"])
def daemon(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Daemon]:
    with Daemon(replace(settings, workers=1), forbidden=request.param) as found:
        more = f'[http]\naddress = "unix:{found.private}/http.sock"'
        replace(settings, workers=1, more=more).write()
        yield found.start()


def test_a_descriptor_that_closes_slowly_holds_up_nobody(
    daemon: Daemon, lingering: Lingering
) -> None:
    sent: dict[str, bool] = {}
    for way, (connect, data) in WAYS.items():
        with connect(daemon) as sender:
            sent[way] = lingering.send(daemon, sender, data)
            assert daemon.state() == "serving"
            if sent[way]:
                lingering.send(daemon, sender, data)
    daemon.reload()  # which ends the worker, and closes what was sent to its sockets

    assert sent == {way: way == "notify" or daemon.forbidden is not None for way in WAYS}


def test_descriptors_that_wait_to_be_closed_are_bounded(
    settings: Settings, lingering: Lingering
) -> None:
    with Daemon(replace(settings, workers=1)) as daemon, to_notify(daemon.start()) as sender:
        before = len(daemon.descriptors())
        lingering.send(daemon, sender, b"BARRIER=1")
        sender.setblocking(False)
        ours, theirs = os.pipe()
        sent = 0
        with suppress(BlockingIOError), os.fdopen(ours), os.fdopen(theirs):
            while sent < MESSAGES:
                socket.send_fds(sender, [b"BARRIER=1"], [ours] * SCM_MAX_FD)
                sent += 1
        wait_until(lambda: len(daemon.descriptors()) > before + SCM_MAX_FD, what="some wait")
        assert daemon.state() == "serving"
        most = len(daemon.descriptors()) - before
        lingering.end()
        wait_until(lambda: len(daemon.descriptors()) <= before, what="all were closed")
        assert daemon.state() == "serving"
    print(f"{sent * SCM_MAX_FD} descriptors were sent, {most} waited at once")

    assert most <= WAITING_MAX + SCM_MAX_FD + 16


def test_a_stop_waits_for_nothing_that_clients_sent(
    settings: Settings, lingering: Lingering
) -> None:
    with Daemon(replace(settings.shared, workers=1, unix=True)) as daemon:
        daemon.start()
        (worker,) = daemon.workers()
        os.kill(worker.pid, signal.SIGSTOP)  # so that the client waits in the queue
        with socket.socket(socket.AF_UNIX) as sender:
            sender.connect(daemon.settings.target("raw")[0])
            assert lingering.send(daemon, sender, b"x")

            assert daemon.stop() == 0
