"""Entries as the journal's own protocol has them."""

import os
import socket
import struct
from pathlib import Path

import pytest

from wssupervisor import journal
from wssupervisor.journal import Journal


def send(message: str, more: dict[str, str], address: str) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(journal, "SOCKET", address)
        found = Journal()
        try:
            found.send(journal.fields({"MESSAGE": message, **more}))
        finally:
            found.close()


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
        send(message, {"PRIORITY": "6", "WSS_INSTANCE": "chat\nroom"}, address)

        assert fields_of(bound.recv(1000)) == {
            "MESSAGE": message,
            "PRIORITY": "6",
            "WSS_INSTANCE": "chat\nroom",
        }


def test_an_entry_too_large_for_a_datagram_goes_in_a_sealed_file(tmp_path: Path) -> None:
    address, message = str(tmp_path / "journal"), "x" * 3_000_000
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address)
        send(message, {}, address)
        data, descriptors, _, _ = socket.recv_fds(bound, 100, 10)

    assert data == b""
    with os.fdopen(descriptors[0], "rb") as file:
        assert fields_of(os.pread(file.fileno(), 4_000_000, 0)) == {"MESSAGE": message}
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(file.fileno(), b"y", 0)


def test_without_a_journal_it_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        send("started", {}, str(tmp_path / "nothing"))
