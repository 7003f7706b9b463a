"""Durations as people write and read them."""

import math

import pytest

from wssupervisor.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("0s", 0.0),
        ("1.5s", 1.5),
        ("10min", 600.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("infinity", math.inf),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "1 week", "1e3s", "10m", "nan", "1s2", "٣s", "9" * 400 + "s"]
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match='such as "500ms"'):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.25, "250ms"),
        (0.9996, "1.0s"),
        (1.5, "1.5s"),
        (1.96, "2s"),
        (4.951, "5s"),
        (42.4, "42s"),
        (59.7, "1min"),
        (125, "2min 5s"),
        (3599.6, "1h"),
        (3600, "1h"),
        (90061, "1d 1h"),
        (math.inf, "infinity"),
    ],
)
def test_a_duration_is_shown_with_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("text", ["500ms", "1.5s", "30s", "10min", "2h", "1d", "infinity"])
def test_what_is_shown_can_be_written(text: str) -> None:
    assert format_duration(parse_duration(text)) == text
