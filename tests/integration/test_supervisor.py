"""The loop itself with real sockets and processes, where a daemon would be in the way."""

import asyncio
from functools import partial
from pathlib import Path

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

SOON = 10.0


async def serving(supervisor: Supervisor) -> None:
    while supervisor.view().state is not InstanceState.SERVING:
        await asyncio.sleep(0.01)


def test_a_bug_while_a_release_is_read_fails_the_reload_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "idle.toml"
    path.write_text(
        '[app]\ncommand = ["sleep", "60"]\n[ready]\nby = "delay"\nstable = "0s"\n'
        f'[[listen]]\naddress = "127.0.0.1:{free_port()}"\n'
    )
    config = load_config(str(path), Overrides())

    def broken() -> Config:
        raise RuntimeError("a bug")

    async def live() -> tuple[object, InstanceState, int]:
        listeners = ListenerSet(acquire.acquired(config, []), backlogs(config))
        history = History(str(tmp_path / "control.sock"))

        def look() -> object:
            return watch.glance()

        try:
            supervisor = Supervisor(
                config,
                broken,
                listeners,
                Fleet(listeners.open()),
                str(tmp_path / "notify"),
                FdStore(),
                history,
                look=look,
                keep=lambda _: None,
            )
            watch = Watch(supervisor, ServiceNotifier(), lambda: None)
            begin = partial(supervisor.start, resolve(config))
            running = asyncio.ensure_future(supervisor.run(begin, watch.run))
            await serving(supervisor)
            outcome = await supervisor.answers.ask(1, ReloadRequested(1))
            state = supervisor.view().state
            supervisor.post(StopRequested(None))
            status = (await running).status
            supervisor.crew.finish()
            return outcome, state, status
        finally:
            listeners.close()
            history.close()

    outcome, state, status = asyncio.run(asyncio.wait_for(live(), SOON))

    assert isinstance(outcome, Failed)
    assert "a bug" in outcome.reason
    assert state is InstanceState.SERVING
    assert status == 0
