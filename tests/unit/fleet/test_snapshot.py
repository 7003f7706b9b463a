"""The saved state of the fleet: what is read back, and what is refused."""

import pytest

from tests.unit.fleet.driven import draining, serving
from wssupervisor.fleet.snapshot import SnapshotInvalid, dump, load


def test_a_state_without_forced_and_lost_connections_is_read() -> None:
    data = dump(draining().core)
    for generation in data["state"]["generations"].values():
        del generation["forced"], generation["lost"]
        for one in generation["workers"].values():
            del one["forced"]

    assert load(data).state == draining().state


def test_a_snapshot_of_another_version_is_refused() -> None:
    data = dump(serving().core) | {"version": 99}

    with pytest.raises(SnapshotInvalid, match="version 99 is not known"):
        load(data)


def test_a_torn_snapshot_is_refused() -> None:
    data = dump(serving().core)
    del data["state"]["slots"]

    with pytest.raises(SnapshotInvalid, match="cannot be read"):
        load(data)
