"""What belongs to no module of its own: scaling, and events that come late."""

from dataclasses import replace

from tests.unit.fleet.driven import B, serving
from wssupervisor.fleet.events import (
    ReleaseResolved,
    ReloadRequested,
    RequesterGone,
    ScaleRequested,
)


def test_a_scale_survives_reloads_until_workers_changes_in_the_file() -> None:
    fleet = serving()
    fleet.handle(ScaleRequested(7, 3), 20)
    fleet.handle(ReloadRequested(1), 21)

    assert len(fleet.handle(ReleaseResolved(1, B, fleet.policy), 21)) == 3

    fleet.handle(RequesterGone(1), 22)
    fleet.handle(ReloadRequested(2), 23)

    assert len(fleet.handle(ReleaseResolved(2, B, replace(fleet.policy, workers=1)), 23)) == 1
