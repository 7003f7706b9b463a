"""What one program leaves to the next, through a memfd."""

import os
from pathlib import Path

import pytest

from wssupervisor.errors import OperationFailed
from wssupervisor.runtime.handover import document

RELEASES = sorted((Path(__file__).parent / "carried").glob("*.json"))


def test_there_is_a_state_of_each_format() -> None:
    assert [path.stem for path in RELEASES] == [f"format-{document.VERSION}"]


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_the_state_of_a_released_program_is_taken_over(path: Path) -> None:
    """Written by that release in the middle of a drain; never to be changed."""
    memfd = os.memfd_create("test")
    try:
        os.write(memfd, path.read_bytes())
        found = document.read(memfd)
    finally:
        os.close(memfd)
    fleet = found.load_fleet()

    assert [one.state.value for one in fleet.state.generations.values()] == ["draining", "active"]
    assert {one.id for one in found.workers} == {one.id for one in fleet.state.workers()}


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
