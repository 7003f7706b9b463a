"""Values of the fleet: their text, their defaults, and what they never show."""

from math import inf

import pytest

from wssupervisor.fleet.model import (
    Check,
    Exit,
    Policy,
    ReadyBy,
    Release,
    Table,
    WhenFull,
    WorkerId,
)


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        (Exit(signal="SIGSEGV"), "was killed by SIGSEGV"),
        (Exit(status=0), "exited with status 0"),
        (Exit(status=3), "exited with status 3"),
        (Exit(), "ended with an unknown status"),
    ],
)
def test_an_exit_is_said_in_words(ended: Exit, text: str) -> None:
    assert str(ended) == text


def test_a_worker_is_called_by_generation_index_and_incarnation() -> None:
    assert str(WorkerId(1, 2, 3)) == "1.2.3"


def test_secrets_are_in_no_log() -> None:
    release = Release(("chat",), "/srv/41", (("TOKEN", "hunter2"),))
    check = Check(ReadyBy.HTTP, "ws", headers=(("Authorization", "hunter2"),))

    assert "hunter2" not in repr(release) + repr(check)


def test_a_table_names_the_slots_of_all_its_listeners() -> None:
    table = Table({"ws": {10: 1}, "raw": {20: 2}})

    assert [table.names(slot) for slot in (10, 20, 30)] == [True, True, False]


def test_what_the_file_does_not_say_is_as_the_manual_says() -> None:
    assert Policy() == Policy(
        workers=1,
        ready_by=ReadyBy.CONNECT,
        ready_timeout=30.0,
        check=None,
        stable=1.0,
        accept_stall=2.0,
        keep=30.0,
        drain_timeout=inf,
        close_over=30.0,
        drain_signal=None,
        max_draining=8,
        when_full=WhenFull.REFUSE,
        stop_timeout=30.0,
        stop_close_over=5.0,
        stop_signal="SIGTERM",
        kill_after=10.0,
        backoff=0.5,
        backoff_max=30.0,
        watchdog=0.0,
        replace_after=60.0,
        by_client=(),
        forward_signals=(),
        replace_stalled=10.0,
    )
