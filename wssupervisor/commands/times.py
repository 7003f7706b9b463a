"""Instants for operators: local time with its offset from UTC. JSON has UTC."""

from datetime import datetime


def clock(at: str) -> str:
    """The local time of an ISO 8601 instant, with its date unless that is today."""
    moment = _local(at)
    time = moment.strftime("%H:%M:%S")
    return (
        time if moment.date() == datetime.now().astimezone().date() else f"{moment.date()} {time}"
    )


def clock_with_offset(at: str) -> str:
    """The same with its offset: 09:00:00+01:00."""
    return clock(at) + _offset(_local(at))


def date_and_time(at: str) -> str:
    """The date, the time and the offset: 2026-11-24 09:00:00+01:00."""
    return _local(at).isoformat(" ", "seconds")


def now() -> str:
    """The date, the time and the offset of this moment."""
    return datetime.now().astimezone().isoformat(" ", "seconds")


def zone() -> str:
    """The current offset: UTC+01:00."""
    return f"UTC{_offset(datetime.now().astimezone())}"


def _local(at: str) -> datetime:
    return datetime.fromisoformat(at).astimezone()


def _offset(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")[-6:]
