"""When connections are closed: evenly, with jitter, idle ones first."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wssupervisor.worker.pacing import idle_first, turns


@given(count=st.integers(0, 500), over=st.floats(0, 1000), seed=st.integers())
def test_every_connection_has_its_turn_within_the_time(count: int, over: float, seed: int) -> None:
    found = turns(count, over, random.Random(seed).random)

    assert len(found) == count
    assert found == sorted(found)
    assert all(0 <= turn <= over for turn in found)


@pytest.mark.parametrize(("count", "workers"), [(2000, 1), (1000, 2), (10, 200)])
def test_no_second_sees_much_more_than_its_share(count: int, workers: int) -> None:
    chance = random.Random(1).random
    closes = [int(turn) for _ in range(workers) for turn in turns(count, 20.0, chance)]
    seconds = Counter(closes)

    assert max(seconds.values()) <= 1.5 * count * workers / 20


def test_two_that_begin_together_do_not_close_in_step() -> None:
    chance = random.Random(2).random

    assert turns(5, 10.0, chance) != turns(5, 10.0, chance)


def test_who_said_nothing_for_longest_goes_first() -> None:
    assert idle_first([30.0, 10.0, 20.0]) == [1, 2, 0]
