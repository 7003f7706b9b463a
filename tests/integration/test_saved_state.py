"""The state that a dead supervisor left: when a successor uses it, and when it sets it aside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.census import alive, workers_of
from tests.harness.daemon import Daemon, unchanged
from tests.harness.deaths import daemon_held_by, rewritten
from tests.harness.fd_store import FdStore
from tests.harness.load import load
from tests.harness.settings import Settings
from wssupervisor.runtime.handover import state_file
from wssupervisor.runtime.handover.attempts import SAME_MAX
from wssupervisor.runtime.kernel.procfs import start_time

ANSWERS = 200

CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    "of another boot": ("it is from another boot", {"boot": "5e7-0"}),
    "of a newer version": ("in a format that", {"version": 2}),
    "of another instance": ("it belongs to instance 'other'", {"name": "other"}),
    "no state at all": ("it cannot be read", {"document": {"version": 1, "program": "9"}}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_state_that_is_not_to_be_trusted_is_set_aside(settings: Settings, what: str) -> None:
    reason, change = CHANGES[what]
    with daemon_held_by(settings, "store") as daemon:
        old = daemon.start().active_pids()
        daemon.die()
        rewritten(daemon, lambda data: data.update(change))
        daemon.start()

        assert reason in daemon.log()
        assert set(workers_of(settings.name)) == set(daemon.active_pids())
        assert not set(old) & set(daemon.active_pids())


def test_a_recovery_that_fails_in_the_same_way_at_each_start_is_given_up(
    settings: Settings,
) -> None:
    """It names a listener that it does not have: no start could continue with that."""
    with daemon_held_by(settings, "store") as daemon:
        old = daemon.start().active_pids()
        daemon.die()
        rewritten(
            daemon,
            lambda data: data["document"]["listeners"]["listeners"][0]["pool"].update(name="other"),
        )
        for attempt in range(1, SAME_MAX + 1):
            assert daemon.run_to_its_end() == 1
            assert f"attempt={attempt}" in daemon.log()
            assert all(alive(pid) for pid in old)
        daemon.start()

        assert "recovery given up: state of the last supervisor is set" in daemon.log()
        assert set(workers_of(settings.name)) == set(daemon.active_pids())
        aside = sorted(one.name for one in daemon.private.glob("*.aside"))
        assert aside == ["control.sock.state.0.aside", "control.sock.state.1.aside"]


def test_a_recovery_that_fails_once_is_tried_again_with_all_its_connections(
    settings: Settings,
) -> None:
    def named(name: str) -> Callable[[dict[str, Any]], None]:
        return lambda data: data["document"]["listeners"]["listeners"][0]["pool"].update(name=name)

    with daemon_held_by(settings, "store") as daemon, load(daemon.start()) as clients:
        pids, name = daemon.active_pids(), daemon.status()["listeners"][0]["name"]
        daemon.die()
        for _ in range(2):
            rewritten(daemon, named("other"))
            for _ in range(SAME_MAX - 1):
                assert daemon.run_to_its_end() == 1
            rewritten(daemon, named(name))
            daemon.start()
            daemon.die()  # by another's doing: that breaks the row
        daemon.start()
        clients.more(ANSWERS)
        clients.assert_unnoticed()

        assert unchanged(pids, daemon.active_pids())


def test_a_supervisor_that_the_state_merely_names_keeps_no_start_away(settings: Settings) -> None:
    """As a worker may write it: a worker, or what is no pid at all."""

    def named(who: str) -> Callable[[dict[str, Any]], None]:
        return lambda data: data.update(supervisor=who)

    variables = {"INVOCATION_ID": "of the service"}
    with FdStore() as store, Daemon(settings, sockets=store, variables=variables) as daemon:
        pid = daemon.start().active_pids()[0]
        for who in (f"{pid}:{start_time(pid)}", "one:1"):
            daemon.die()
            rewritten(daemon, named(who))
            daemon.start()
        assert daemon.stop() == 0


def test_a_new_start_waits_until_systemd_has_let_go_of_the_sockets(settings: Settings) -> None:
    """As long as it has them, the addresses that the last supervisor had bound are taken."""
    with FdStore(removes_after=0.2) as store, Daemon(settings, sockets=store) as daemon:
        daemon.start()
        daemon.die()
        rewritten(daemon, lambda data: data.update(boot="another"))
        daemon.start()

        assert "it is from another boot" in daemon.log()
        assert daemon.stop() == 0


def test_state_that_cannot_be_written_is_said_and_stops_nobody(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        path = Path(f"{daemon.control}{state_file.SUFFIX}.0")
        path.mkdir()
        daemon.start()
        assert path.is_file()  # what was there is set aside
        path.unlink()
        path.mkdir()
        daemon.reload()

        assert daemon.log().count("cannot save state") == 1
        assert daemon.stop() == 0
        path.rmdir()
