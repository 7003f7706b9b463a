"""Another time zone than that of the machine, for as long as a test needs it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def local_time(monkeypatch: pytest.MonkeyPatch, zone: str) -> Iterator[None]:
    """`zone` as in $TZ, such as "XYZ-1" for an hour east of UTC: no zone files are needed."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()
