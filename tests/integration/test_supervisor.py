"""The loop itself with real sockets and processes, where a daemon would be in the way."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.settings import free_port
from wssupervisor.config.model import Config, Overrides
from wssupervisor.config.schema import load_config
from wssupervisor.fleet.actions import Failed
from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.events import ReloadRequested, StopRequested
from wssupervisor.fleet.model import InstanceState
from wssupervisor.runtime.fd_store import FdStore
from wssupervisor.runtime.handover.document import backlogs
from wssupervisor.runtime.history.history import History
from wssupervisor.runtime.listeners import acquire
from wssupervisor.runtime.listeners.listener_set import ListenerSet
from wssupervisor.runtime.observe.watch import Watch
from wssupervisor.runtime.releases.release import resolve
from wssupervisor.runtime.supervisor import Supervisor
from wssupervisor.runtime.systemd import ServiceNotifier

T = TypeVar("T")

STEPS = 40
"""Steps of the event loop: a worker is spawned and a connection of its probe is made in fewer."""

LISTEN = '[[listen]]\naddress = "127.0.0.1:{port}"\n'
SERVES_AT_ONCE = '[ready]\nby = "delay"\nstable = "0s"\n'


def config_of(path: Path, more: str = "") -> Config:
    """Of a worker that never accepts a connection."""
    path.write_text(f'[app]\ncommand = ["sleep", "60"]\n{more}{LISTEN.format(port=free_port())}')
    return load_config(str(path), Overrides())


def broken() -> Config:
    raise RuntimeError("a bug")


@contextmanager
def supervising(
    config: Config, directory: Path, reread: Callable[[], Config] = broken
) -> Iterator[tuple[Supervisor, Watch]]:
    listeners = ListenerSet(acquire.acquired(config, []), backlogs(config))
    history = History(str(directory / "control.sock"))

    def look() -> object:
        return watch.glance()

    try:
        supervisor = Supervisor(
            config,
            reread,
            listeners,
            Fleet(listeners.open()),
            str(directory / "notify"),
            FdStore(),
            history,
            look=look,
            keep=lambda _: None,
        )
        watch = Watch(supervisor, ServiceNotifier(), lambda: None)
        yield supervisor, watch
        supervisor.crew.finish()
    finally:
        listeners.close()
        history.close()


async def serving(supervisor: Supervisor) -> None:
    while supervisor.view().state is not InstanceState.SERVING:
        await asyncio.sleep(0.01)


def test_a_bug_while_a_release_is_read_fails_the_reload_and_nothing_else(tmp_path: Path) -> None:
    config = config_of(tmp_path / "idle.toml", SERVES_AT_ONCE)

    async def live() -> tuple[object, InstanceState, int]:
        with supervising(config, tmp_path) as (supervisor, watch):
            begin = partial(supervisor.start, resolve(config))
            running = asyncio.ensure_future(supervisor.run(begin, watch.run))
            await serving(supervisor)
            outcome = await supervisor.answers.ask(1, ReloadRequested(1))
            state = supervisor.view().state
            supervisor.post(StopRequested(None))
            return outcome, state, (await running).status

    outcome, state, status = asyncio.run(within(HANG_SECONDS, live))

    assert isinstance(outcome, Failed)
    assert "a bug" in outcome.reason
    assert state is InstanceState.SERVING
    assert status == 0


@pytest.mark.parametrize("steps", range(STEPS))
def test_a_stop_ends_the_instance_whatever_step_a_probe_is_at(tmp_path: Path, steps: int) -> None:
    config = config_of(tmp_path / "idle.toml")

    async def live() -> None:
        with supervising(config, tmp_path) as (supervisor, watch):
            begin = partial(supervisor.start, resolve(config))
            running = asyncio.ensure_future(supervisor.run(begin, watch.run))
            for _ in range(steps):
                await asyncio.sleep(0)
            supervisor.post(StopRequested(None))
            await running

    asyncio.run(within(HANG_SECONDS, live))


def test_a_stop_does_not_wait_for_a_release_that_cannot_be_read(tmp_path: Path) -> None:
    config = config_of(tmp_path / "idle.toml", SERVES_AT_ONCE)
    reading, over = threading.Event(), threading.Event()

    def hangs() -> Config:
        reading.set()
        over.wait()
        return config

    async def live() -> object:
        with supervising(config, tmp_path, hangs) as (supervisor, watch):
            begin = partial(supervisor.start, resolve(config))
            running = asyncio.ensure_future(supervisor.run(begin, watch.run))
            await serving(supervisor)
            asking = asyncio.ensure_future(supervisor.answers.ask(1, ReloadRequested(1)))
            await asyncio.to_thread(reading.wait)
            supervisor.post(StopRequested(None))
            await running
            return await asking

    try:
        outcome = asyncio.run(within(HANG_SECONDS, live))
    finally:
        over.set()

    assert isinstance(outcome, Failed)
    assert "stopping" in outcome.reason


async def within(seconds: float, live: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(seconds):
        return await live()
