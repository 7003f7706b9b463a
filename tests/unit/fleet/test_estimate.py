"""When a drain may be over: only what can be concluded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wssupervisor.fleet.estimate import Estimate, Unknown, emptying


def test_half_gone_in_ten_minutes_leaves_the_last_after_as_many_halvings() -> None:
    found = emptying(128, 64, 600.0)

    assert isinstance(found, Estimate)
    assert found.half_life == pytest.approx(600.0)
    assert found.empty_in == pytest.approx(7 * 600.0)


@pytest.mark.parametrize(
    ("at_start", "left", "seconds"),
    [(100, 95, 600.0), (100, 50, 20.0), (5, 2, 3600.0), (9, 20, 99)],
)
def test_too_little_is_unknown_and_says_why(at_start: int, left: int, seconds: float) -> None:
    found = emptying(at_start, left, seconds)

    assert isinstance(found, Unknown)
    assert f"{at_start - left} of {at_start} have closed" in found.reason


@given(at_start=st.integers(0, 100_000), left=st.integers(0, 100_000), seconds=st.floats(0, 1e7))
def test_it_is_never_in_the_past_or_never(at_start: int, left: int, seconds: float) -> None:
    found = emptying(at_start, left, seconds)

    if isinstance(found, Estimate):
        assert 0.0 <= found.empty_in < 1e14


@pytest.mark.parametrize(
    ("left", "seconds", "known"),
    [(90, 30.0, True), (91, 30.0, False), (90, 29.9, False), (0, 1.0, True)],
)
def test_ten_connections_in_half_a_minute_are_enough_for_an_estimate(
    left: int, seconds: float, known: bool
) -> None:
    assert isinstance(emptying(100, left, seconds), Estimate) is known


def test_an_empty_drain_is_empty_now() -> None:
    assert emptying(100, 0, 60.0) == Estimate(0.0, 0.0)
