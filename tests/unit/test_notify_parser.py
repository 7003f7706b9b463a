"""What a worker may say over sd_notify."""

import pytest

from wssupervisor.runtime.workers.notify_socket import MESSAGE_BYTES, Malformed, Notification, parse


def test_known_assignments_are_taken_and_others_left_alone() -> None:
    data = b"READY=1\nSTATUS=all is well\nMAINPID=5\nX_OTHER=\n"

    assert parse(data) == Notification(ready=True, status="all is well")


def test_stopping_and_watchdog_are_taken() -> None:
    assert parse(b"STOPPING=1\nWATCHDOG=1") == Notification(stopping=True, watchdog=True)


def test_a_status_does_nothing_to_a_terminal() -> None:
    assert parse(b"STATUS=a\x1b[2Jb") == Notification(status="a?[2Jb")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"READY", "'READY' is not NAME=value"),
        (b"=1", "'=1' is not NAME=value"),
        (b"READY=yes", "READY='yes': only READY=1 is known"),
        (b"READY=1\0", "contains a NUL byte"),
        (b"STATUS=\xff", "not UTF-8"),
        (b"S=" + b"x" * MESSAGE_BYTES, f"longer than {MESSAGE_BYTES} bytes"),
    ],
)
def test_a_malformed_message_is_refused_whole(data: bytes, reason: str) -> None:
    assert parse(data) == Malformed(reason)
