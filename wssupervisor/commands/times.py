"""Instants as people read them: local time with its offset from UTC; JSON keeps UTC."""

from datetime import datetime


def clock(at: str) -> str:
    """The time of day of an ISO 8601 instant; before it the date, if that is another day's."""
    moment = _local(at)
    time = moment.strftime("%H:%M:%S")
    return (
        time if moment.date() == datetime.now().astimezone().date() else f"{moment.date()} {time}"
    )


def clock_with_offset(at: str) -> str:
    """The same with the offset behind it: 09:00:00+01:00."""
    return clock(at) + _offset(_local(at))


def date_and_time(at: str) -> str:
    """The date, the time and the offset: 2026-11-24 09:00:00+01:00."""
    return _local(at).isoformat(" ", "seconds")


def now() -> str:
    """The date, the time and the offset of this moment."""
    return datetime.now().astimezone().isoformat(" ", "seconds")


def zone() -> str:
    """The offset that applies now: UTC+01:00."""
    return f"UTC{_offset(datetime.now().astimezone())}"


def _local(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone()


def _offset(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")[-6:]
