"""A worker's sd_notify socket, spoken to by real senders."""

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from systemd import daemon

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import Daemon
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings
from wssupervisor.foreign import CLIENTS
from wssupervisor.runtime.workers.notify_socket import (
    MESSAGES_PER_LOOK,
    Malformed,
    Notification,
    NotifySocket,
)

NOBODY = 65534
SAY = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.connect(sys.argv[1])
    sender.send(b"READY=1")
sys.stdin.read()
"""
BECOMES_ANOTHER = f"""
import asyncio, os, socket
async def main():
    server = await asyncio.start_server(lambda reader, writer: None, sock=socket.socket(fileno=3))
    os.setgid({NOBODY}); os.setuid({NOBODY})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(os.environ["NOTIFY_SOCKET"])
        sender.send(b"READY=1")
    await server.serve_forever()
asyncio.run(main())
"""


def nobody(_: int) -> bool:
    return False


@pytest.fixture(params=["a file", "a path that is too long"])
def notify(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NotifySocket]:
    path = tmp_path / ("notify.1.0.1" if request.param == "a file" else "x" * 108)
    path.with_name(path.name[:20]).touch()
    found = NotifySocket.create(str(path))
    yield found
    found.close()
    assert not path.exists()


def descriptors() -> set[tuple[str, str]]:
    """Numbers and what they are, after all that is closed in threads has been closed."""
    wait_until(lambda: CLIENTS._threads == 0, what="the end of what is closed beside")
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one of this very look
            found.add((one.name, str(one.readlink())))
    return found


def send(notify: NotifySocket, data: bytes, *descriptors: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(notify.address.replace("@", "\0", 1))
        socket.send_fds(sender, [data], list(descriptors))


def test_sd_notify_itself_is_understood(
    notify: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", notify.address)

    assert daemon.notify("READY=1\nSTATUS=serving")
    assert notify.receive(nobody) == [Notification(ready=True, status="serving")]
    assert notify.receive(nobody) == []


def test_a_bad_message_does_not_hide_a_good_one(notify: NotifySocket) -> None:
    send(notify, b"nonsense")
    send(notify, b"READY=1")

    assert notify.receive(nobody) == [
        Malformed("'nonsense' is not NAME=value"),
        Notification(ready=True),
    ]


def test_a_barrier_is_answered_and_no_descriptor_is_kept(notify: NotifySocket) -> None:
    before = descriptors()
    read, write = os.pipe()
    send(notify, b"BARRIER=1", write)
    os.close(write)
    notify.receive(nobody)

    assert os.read(read, 1) == b""  # the last copy of the other end is closed
    os.close(read)
    assert descriptors() - before == set()  # sockets of other tests may be collected meanwhile


def test_a_flood_is_read_in_bounded_portions(notify: NotifySocket) -> None:
    for _ in range(5):
        send(notify, b"WATCHDOG=1")
    portion = len(notify.receive(nobody))

    assert 0 < portion <= MESSAGES_PER_LOOK


@needs_root
def test_a_worker_that_became_another_user_is_known_by_its_pid(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(short_directory))
    notify = NotifySocket.create(str(short_directory / "notify.1.0.1"))
    sender = subprocess.Popen([sys.executable, "-c", SAY, notify.address], stdin=subprocess.PIPE)
    try:
        select.select([notify], [], [], HANG_SECONDS)
        found = notify.receive(lambda pid: pid == sender.pid)
        assert found == [Notification(ready=True)]
    finally:
        sender.communicate()
        notify.close()
    assert sender.returncode == 0


@needs_root
def test_what_another_user_sends_is_refused_and_told_once(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(short_directory))
    notify = NotifySocket.create(str(short_directory / "notify.1.0.1"))
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-c", SAY, notify.address], stdin=subprocess.DEVNULL, check=True
        )
    found = notify.receive(nobody)
    notify.close()

    assert 1 == len(found)
    assert "which is not a process of this worker" in str(found[0])


@needs_root
def test_ready_after_setuid(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(BECOMES_ANOTHER)
    runtime = Path(tempfile.mkdtemp(prefix="wss-"))
    runtime.chmod(0o755)
    own = replace(
        settings,
        command=(sys.executable, str(tmp_path / "server.py")),
        listeners=("ws",),
        ready_by="notify",
        ready_timeout="4s",
    )
    control = runtime / "wssupervisor" / settings.name / "control.sock"
    with Daemon(own, control=control, variables={"XDG_RUNTIME_DIR": str(runtime)}) as daemon:
        daemon.start()
        assert daemon.ctl("reload").status == 0
        assert daemon.stop() == 0
    shutil.rmtree(runtime)
