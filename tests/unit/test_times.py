"""Instants are shown in local time, with the offset that applied then."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.harness.local_time import local_time
from wssupervisor.commands.times import clock, clock_with_offset, date_and_time, now, zone

SUMMER = "XYZ-1XYD,M3.5.0,M10.5.0/3"
"""As in Berlin."""


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with local_time(monkeypatch, SUMMER):
        yield


@pytest.mark.parametrize(
    ("utc", "local"),
    [
        ("2026-11-24T09:00:00.123Z", "2026-11-24 10:00:00+01:00"),
        ("2026-07-24T09:00:00.123Z", "2026-07-24 11:00:00+02:00"),
        ("2026-12-31T23:30:00.000Z", "2027-01-01 00:30:00+01:00"),
    ],
)
def test_an_instant_has_the_offset_of_its_own_day(utc: str, local: str) -> None:
    date, _, time = local.partition(" ")

    assert date_and_time(utc) == local
    assert clock_with_offset(utc) == f"{date} {time}"
    assert clock(utc) == f"{date} {time[:8]}"


def test_of_today_the_time_is_enough() -> None:
    moment = datetime.now(UTC)
    local = moment.astimezone()

    assert clock(moment.isoformat()) == local.strftime("%H:%M:%S")
    assert clock_with_offset(moment.isoformat()).endswith(zone().removeprefix("UTC"))
    assert datetime.fromisoformat(now()) - moment < moment.resolution * 60_000_000
