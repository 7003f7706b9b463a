"""The promise itself: reloads under a storm lose no connection and misroute none."""

from dataclasses import replace

import pytest

from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings

CUTOVERS = 20
CONNECTIONS = 12_000
HELD = 1_000
RATE = 1_200.0

FREE = "free_slots"


def free_slots(daemon: Daemon) -> list[int]:
    return [listener[FREE] for listener in daemon.status()["listeners"]]


@pytest.mark.storm
@pytest.mark.parametrize("variant", ["well", "stubborn"])
def test_twenty_reloads_lose_and_misroute_no_connection(settings: Settings, variant: str) -> None:
    settings.releases.install("storm", variant)
    # Everything that ends stubborn workers does so by SIGKILL, `kill_after` after SIGTERM.
    with Daemon(replace(settings, accept_stall="5s")) as daemon:
        daemon.start()
        free_before = free_slots(daemon)
        with load(daemon, held=HELD, rate=RATE) as clients:
            cutovers = []
            for _ in range(CUTOVERS):
                cutovers.append(daemon.reload())
                clients.more(CONNECTIONS // CUTOVERS)
            daemon.wait_for(
                lambda status: (
                    [shown["number"] for shown in status["generations"]]
                    in ([CUTOVERS + 1, 1], [1, CUTOVERS + 1])
                ),
                what="retirement of all but the active and the held generation",
            )
            notes = clients.assert_unnoticed(cutovers)
        daemon.wait_for(
            lambda status: len(status["generations"]) == 1,
            what="retirement of the generation whose clients have gone",
        )

        assert len(notes) >= CONNECTIONS
        assert [cutover.generation for cutover in cutovers] == list(range(2, CUTOVERS + 2))
        assert {note.generation for note in notes} == set(range(1, CUTOVERS + 2))
        assert free_slots(daemon) == free_before
        assert daemon.stop() == 0
        assert daemon.leftovers() == []
