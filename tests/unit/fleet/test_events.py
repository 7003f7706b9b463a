"""Events: their defaults, and the fields of a requester."""

from math import inf

from wssupervisor.fleet.events import LeaveRequested, ReloadRequested, Requester, RollBackRequested


def test_a_request_waits_a_minute_for_its_verdict_and_makes_no_room_unasked() -> None:
    assert ReloadRequested(1) == ReloadRequested(1, 60.0, waits=True, make_room=False)
    assert RollBackRequested(1) == RollBackRequested(1, 60.0)
    assert LeaveRequested(1, 10.0) == LeaveRequested(1, 10.0, inf, waits=True)
    assert Requester("wssctl", "alice", 7).fields() == {"via": "wssctl", "by": "alice", "by_pid": 7}
