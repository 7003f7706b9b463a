"""A short soak; `./dev soak --minutes 10` is a long one."""

import time
from dataclasses import replace

import pytest

from tests.harness.settings import Settings
from tests.soak.soak import Soak

SECONDS = 20.0
SEED = 7


@pytest.mark.storm
def test_random_deeds_cost_nobody_a_connection_but_those_of_killed_processes(
    settings: Settings,
) -> None:
    soak = Soak(
        replace(settings, ready_timeout="3s", max_draining=3), SEED, rate=300.0, held=100, say=print
    )

    assert soak.run(until=time.monotonic() + SECONDS) == []
