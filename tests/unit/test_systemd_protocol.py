"""What is sent and read by hand is what python-systemd would send and read."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wssupervisor import systemd_protocol
from wssupervisor.systemd_protocol import journal_by_hand, notify, notify_by_hand

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

    assert notify_by_hand("FDSTORE=1\nFDNAME=wss-a", [read, write])
    data, descriptors, _, _ = socket.recv_fds(bound, 100, 10)
    same = [os.path.sameopenfile(*pair) for pair in zip(descriptors, (read, write), strict=True)]
    for descriptor in (read, write, *descriptors):
        os.close(descriptor)

    assert (data, same) == (b"FDSTORE=1\nFDNAME=wss-a", [True, True])


def test_both_ways_send_the_same_notification(
    manager: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("systemd.daemon")
    bound, address = manager
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    text = "READY=1\nSTATUS=serving, schön"

    assert notify(text)
    monkeypatch.setattr(systemd_protocol, "daemon", None)
    assert notify(text)
    assert bound.recv(100) == bound.recv(100)


@pytest.mark.parametrize("library", [True, False])
def test_a_manager_that_has_gone_is_no_error(
    library: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if library:
        pytest.importorskip("systemd.daemon")
    else:
        monkeypatch.setattr(systemd_protocol, "daemon", None)
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


def fields_of(entry: bytes) -> dict[str, str]:
    """A journal entry of the native protocol, read independently of how it was written."""
    found = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", entry[:8])
            value, entry = entry[8 : 8 + size], entry[8 + size + 1 :]
        found[name.decode()] = value.decode()
    return found


@pytest.mark.parametrize("message", ["started", "two\nlines\n", "", "ein schöner Tag", "a=b"])
def test_a_journal_entry_holds_its_message_and_fields(message: str, tmp_path: Path) -> None:
    address = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address)
        journal_by_hand(message, {"PRIORITY": "6", "WSS_INSTANCE": "chat\nroom"}, address)

        assert fields_of(bound.recv(1000)) == {
            "MESSAGE": message,
            "PRIORITY": "6",
            "WSS_INSTANCE": "chat\nroom",
        }


def test_an_entry_too_large_for_a_datagram_goes_in_a_sealed_file(tmp_path: Path) -> None:
    address, message = str(tmp_path / "journal"), "x" * 3_000_000
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address)
        journal_by_hand(message, {}, address)
        data, descriptors, _, _ = socket.recv_fds(bound, 100, 10)

    assert data == b""
    with os.fdopen(descriptors[0], "rb") as file:
        assert fields_of(os.pread(file.fileno(), 4_000_000, 0)) == {"MESSAGE": message}
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(file.fileno(), b"y", 0)


def test_without_a_journal_it_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        journal_by_hand("started", {}, str(tmp_path / "nothing"))
