"""An instance whose workers use the library, and what its tests do with it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from examples.load.clients import HeldClient, HeldVerdict, StormClient
from examples.load.waiting import wait_until
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings

RESTART = "closed by the server: 03f4"

GOING_AWAY = "closed by the server: 03e9"


@pytest.fixture(params=["asyncio", "uvloop"])
def polite(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """An instance whose workers use the library and say themselves when they are ready."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return on(settings, request.param)


@pytest.fixture
def simple(settings: Settings) -> Settings:
    """The same for what does not depend on the worker's loop."""
    return on(settings, "asyncio")


def on(settings: Settings, loop: str) -> Settings:
    settings.releases.install("polite", "polite")
    return replace(
        settings,
        listeners=("ws",),
        ready_by="notify",
        stop='close_over = "1s"',
        environment={"LOOP": loop},
    )


def closing(settings: Settings, timeout: str, over: str) -> Settings:
    return replace(settings, drain=f'timeout = "{timeout}"\nclose_over = "{over}"')


@contextmanager
def storm(daemon: Daemon, rate: float = 100.0) -> Iterator[StormClient]:
    settings = daemon.settings
    where = settings.target("ws")
    with StormClient(settings.releases.root, *where, websocket=True, rate=rate) as found:
        found.wait_answered(20)
        yield found


def holding(daemon: Daemon, count: int, **options: object) -> HeldClient:
    return daemon.held(daemon.settings.releases.root, count, **options)


def reasons(verdict: HeldVerdict) -> Counter[str]:
    return Counter(one.reason[: len(RESTART)] for one in verdict.broken)


def wait_log(daemon: Daemon, text: str, count: int = 1) -> None:
    wait_until(lambda: daemon.log().count(text) >= count, what=f"{text!r} in the log")
