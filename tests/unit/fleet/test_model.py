"""Values of the fleet: their text, their defaults, and what they never show."""

from math import inf

import pytest

from tests.unit.fleet.driven import POLICY, B, serving
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import (
    LeaveRequested,
    ReleaseResolved,
    ReloadRequested,
    Requester,
    RollBackRequested,
)
from wssupervisor.fleet.model import (
    Check,
    Exit,
    Listener,
    Policy,
    ReadyBy,
    Release,
    Table,
    WhenFull,
    WorkerId,
    WorkerState,
)
from wssupervisor.fleet.state import Scale, SlotWatch, State, Steering, Worker


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


def test_a_request_waits_a_minute_for_its_verdict_and_makes_no_room_unasked() -> None:
    assert ReloadRequested(1) == ReloadRequested(1, 60.0, waits=True, make_room=False)
    assert RollBackRequested(1) == RollBackRequested(1, 60.0)
    assert LeaveRequested(1, 10.0) == LeaveRequested(1, 10.0, inf, waits=True)
    assert Requester("wssctl", "alice", 7).fields() == {"via": "wssctl", "by": "alice", "by_pid": 7}


def test_a_worker_begins_with_nothing() -> None:
    one = Worker(WorkerId(1, 0, 1), {"ws": 10}, WorkerState.STARTING, spawned_at=5.0)

    assert (one.connections, one.forced, one.watchdog) == (0, 0, 0.0)
    assert [one.sweeper, one.closes_on_request, one.releases_sockets] == [False] * 3


def test_a_fleet_begins_with_nothing_and_at_its_instant() -> None:
    fleet = Fleet([Listener("ws", (10, 11))], now=7.0)

    assert fleet.state == State(
        {"ws": Listener("ws", (10, 11))},
        slots={10: SlotWatch(), 11: SlotWatch()},
        started_at=7.0,
    )
    assert Fleet([]).state.started_at == 0.0
    assert SlotWatch() == SlotWatch(queued=0, left_epoch=1, deaf=False, occupied=False)
    assert Steering() == Steering(epoch=0, handshakes_over=0)
    assert (fleet.state.last_generation, fleet.state.last_reload) == (0, 0)
    assert fleet.state.quit is False


def test_the_number_of_workers_is_the_scale_as_long_as_the_file_says_the_same() -> None:
    state = State({}, scaled=Scale(5, instead_of=2))

    assert state.workers_wanted(Policy(workers=2)) == 5
    assert state.workers_wanted(Policy(workers=3)) == 3
    assert State({}).workers_wanted(Policy(workers=3)) == 3


def test_a_candidate_is_the_generation_of_the_reload_under_way() -> None:
    fleet = serving()

    assert fleet.state.candidate is None
    fleet.handle(ReloadRequested(5), 10)
    assert fleet.state.candidate is None
    fleet.handle(ReleaseResolved(1, B, POLICY), 10)
    assert fleet.state.candidate is fleet.state.generations[2]
