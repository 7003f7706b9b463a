"""A release that cannot start does not cost the sockets, nor any client that waits in them."""

import pytest

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.e2e.service import Clients, Service

FAILURES = 12
"""More than twice as many as systemd lets pass by default (StartLimitBurst=5)."""
STAYS = "[Service]\nRestartSec=20ms\nRestartSteps=0\n"
"""So that they are over soon; the unit's own pauses grow to 5 s."""


@pytest.mark.slow("systemd pauses between 12 failed starts")
@pytest.mark.timeout(400)
def test_12_failed_starts_under_load_and_then_a_good_one(new: Service) -> None:
    new.release("bad", script="#!/bin/sh\nexit 1\n")
    new.drop_in(new.service, "quick", STAYS)
    new.machine.systemctl("daemon-reload")
    new.machine.systemctl("enable", "--now", new.socket)

    # Slowly: all who come before the release is mended wait, and none may give up.
    with new.storm(rate=5.0, timeout=HANG_SECONDS) as storm:
        wait_until(
            lambda: int(new.machine.show(new.service, "NRestarts")) >= FAILURES,
            what=f"{FAILURES} failed starts",
            every=0.5,
        )
        assert new.machine.show(new.socket, "ActiveState") == "active"
        assert storm.answered == 0
        waiting = storm.begun
        new.switch("one")
        new.wait_serving()
        with new.hold() as held:
            clients = Clients(held.wait_open(), storm, new.record)
            wait_until(
                lambda: storm.answered >= waiting,
                what=f"answers for the {waiting} who waited",
            )
            clients.assert_unnoticed()
    print(f"{waiting} waited")
    assert waiting > FAILURES


def test_a_start_that_fails_says_why_where_an_operator_looks(new: Service) -> None:
    new.release("bad", "fails_at_once")
    done = new.machine.systemctl("start", new.socket, new.service, check=False)

    assert done.returncode == 1
    said = "\n".join(str(entry["MESSAGE"]) for entry in new.journal())
    assert "instance 'chat' did not start" in said
    assert "no such table: users" in said
