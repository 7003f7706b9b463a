"""What one program saves for the next, through a memfd."""

import os
from collections.abc import Iterator

import pytest

from tests.unit.saved import saved_document
from wssupervisor.errors import OperationFailed
from wssupervisor.fleet.snapshot import plain
from wssupervisor.runtime.handover import document


def test_what_is_written_is_read() -> None:
    saved = saved_document()
    memfd = document.write(saved)
    try:
        assert document.read(memfd) == saved
    finally:
        os.close(memfd)


def test_all_descriptors_stay_open() -> None:
    """Every number in the document that is a descriptor, by the names of its fields."""
    saved = saved_document()

    assert sorted(saved.descriptors()) == sorted(numbers(plain(saved)))


def numbers(value: object) -> Iterator[int]:
    """Descriptors in plain data."""
    match value:
        case dict():
            for name, item in value.items():
                if name in ("descriptor", "pidfd", "pipe", "listening", "lock"):
                    yield from [item] if isinstance(item, int) else []
                elif name == "descriptors":
                    yield from item
                else:
                    yield from numbers(item)
        case list():
            for item in value:
                yield from numbers(item)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ('{"version": 1', "cannot be read"),
        ("[]", "cannot be read"),
        ('{"version": 1}', "cannot be read: KeyError"),
        ('{"version": 2}', "has version 2"),
    ],
)
def test_what_is_no_state_is_refused(text: str, reason: str) -> None:
    memfd = os.memfd_create("test")
    try:
        os.write(memfd, text.encode())
        with pytest.raises(OperationFailed, match=reason):
            document.read(memfd)
    finally:
        os.close(memfd)
