"""A worker's sd_notify socket, spoken to by real senders."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from systemd import daemon

from wssupervisor.runtime.notify import MESSAGES_PER_LOOK, Malformed, Notification, NotifySocket


@pytest.fixture(params=["a file", "a path that is too long"])
def notify(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    path = tmp_path / ("notify.1.0.1" if request.param == "a file" else "x" * 108)
    path.with_name(path.name[:20]).touch()
    found = NotifySocket.create(str(path))
    yield found
    found.close()
    assert not path.exists()


def send(notify: NotifySocket, data: bytes, *descriptors: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(notify.address.replace("@", "\0", 1))
        socket.send_fds(sender, [data], list(descriptors))


def test_sd_notify_itself_is_understood(
    notify: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", notify.address)

    assert daemon.notify("READY=1\nSTATUS=serving")
    assert notify.receive() == [Notification(ready=True, status="serving")]
    assert notify.receive() == []


def test_a_bad_message_does_not_hide_a_good_one(notify: NotifySocket) -> None:
    send(notify, b"nonsense")
    send(notify, b"READY=1")

    assert notify.receive() == [
        Malformed("'nonsense' is not NAME=value"),
        Notification(ready=True),
    ]


def test_a_barrier_is_answered_and_no_descriptor_is_kept(notify: NotifySocket) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    read, write = os.pipe()
    send(notify, b"BARRIER=1", write)
    os.close(write)
    notify.receive()

    assert os.read(read, 1) == b""  # the last copy of the other end is closed
    os.close(read)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_flood_is_read_in_bounded_portions(notify: NotifySocket) -> None:
    for _ in range(5):
        send(notify, b"WATCHDOG=1")
    portion = len(notify.receive())

    assert 0 < portion <= MESSAGES_PER_LOOK
