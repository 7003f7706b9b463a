"""What is sent and read by hand is what python-systemd would send and read."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.load.waiting import HANG_SECONDS
from wssupervisor import notify_queue
from wssupervisor.systemd_protocol import notify

READS = """
import json, os
from wssupervisor.systemd_protocol import passed_by_hand
found = passed_by_hand()
flags = [os.get_inheritable(one) for one in found]
print(json.dumps([found, flags, [one for one in os.environ if one.startswith("LISTEN_")]]))
"""


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        bound.settimeout(5)
        yield bound, address


def test_a_notification_arrives_with_its_descriptors(
    manager: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    read, write = os.pipe()

    assert notify("FDSTORE=1\nFDNAME=wss-a", [read, write])
    data, descriptors, _, _ = socket.recv_fds(bound, 100, 10)
    same = [os.path.sameopenfile(*pair) for pair in zip(descriptors, (read, write), strict=True)]
    for descriptor in (read, write, *descriptors):
        os.close(descriptor)

    assert (data, same) == (b"FDSTORE=1\nFDNAME=wss-a", [True, True])


def test_it_is_what_the_library_sends(
    manager: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("systemd.daemon")
    bound, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    text = "READY=1\nSTATUS=serving, schön"

    assert notify(text)
    assert library.notify(text)
    assert bound.recv(100) == bound.recv(100)


def test_a_manager_that_does_not_read_is_not_waited_for(
    manager: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bound, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(notify_queue, "SEND_SECONDS", HANG_SECONDS)  # that the thread waits
    names = [f"FDSTOREREMOVE=1\nFDNAME=wss-{number}" for number in range(1000)]
    read, write = os.pipe()
    begun = time.monotonic()
    for number, name in enumerate(names):
        assert notify(f"STATUS={number}")
        assert notify(name)
    assert notify("FDSTORE=1\nFDNAME=wss-last", [write])
    took = time.monotonic() - begun
    os.close(write)  # theirs now
    got: list[str] = []
    while not got or "last" not in got[-1]:
        data, descriptors, _, _ = socket.recv_fds(bound, 100, 10)
        got.append(data.decode())
    os.write(descriptors[0], b"x")

    assert took < HANG_SECONDS
    assert [one for one in got if one.startswith("FDSTOREREMOVE")] == names
    assert [one for one in got if one.startswith("STATUS")][-1] == "STATUS=999"
    assert os.read(read, 1) == b"x"
    for descriptor in (read, *descriptors):
        os.close(descriptor)


def test_a_manager_that_has_gone_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (str(tmp_path / "nothing"), "@nothing", "", "relative"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)

        assert not notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert not notify("READY=1")


def passed(pid: str | None, count: str, names: str | None) -> object:
    """What a process reads that has two descriptors from 3 on and these variables."""
    import json

    read, write = os.pipe()
    shim = (
        f"exec 3<&{read} 4>&{write} {read}<&- {write}>&-\n"
        f"export LISTEN_PID={'$$' if pid is None else pid} LISTEN_FDS={count}\n"
        + (f"export LISTEN_FDNAMES={names}\n" if names is not None else "")
        + 'exec "$@"'
    )
    try:
        done = subprocess.run(
            ["bash", "-c", shim, "bash", sys.executable, "-c", READS],
            pass_fds=(read, write),
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        os.close(read)
        os.close(write)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("pid", "count", "names", "expected"),
    [
        (None, "2", "ws:wss-control", {"3": "ws", "4": "wss-control"}),
        (None, "2", None, {"3": "unknown", "4": "unknown"}),
        (None, "2", "one", {"3": "unknown", "4": "unknown"}),
        ("1", "2", "ws:ws", {}),
        (None, "many", "ws", {}),
        ("none", "2", "ws", {}),
    ],
)
def test_passed_descriptors_are_read_once_and_not_passed_on(
    pid: str | None, count: str, names: str | None, expected: dict[str, str]
) -> None:
    assert passed(pid, count, names) == [expected, [False] * len(expected), []]
