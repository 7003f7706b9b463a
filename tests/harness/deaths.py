"""A daemon whose sockets outlive its death, and how its next start is changed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from tests.harness.daemon import Daemon
from tests.harness.fd_store import FdStore
from tests.harness.settings import HOST, Settings
from tests.harness.sockets import HeldSockets
from wssupervisor.fleet.snapshot import plain
from wssupervisor.runtime.handover import state_file

SLOTS = 12


@contextmanager
def daemon_held_by(settings: Settings, who: str) -> Iterator[Daemon]:
    """It is stopped at the end, and leaves nothing anywhere."""
    addresses = {"ws": (HOST, settings.ws_port), "raw": (HOST, settings.raw_port)}
    with ExitStack() as stack:
        store = None
        if who == "unit":
            settings = replace(settings, with_addresses=False)
            sockets = stack.enter_context(HeldSockets(addresses, slots=SLOTS))
            store = stack.enter_context(FdStore(sockets))
        elif who == "store":
            store = stack.enter_context(FdStore())
        with Daemon(settings, sockets=store) as daemon:
            yield daemon
            if daemon.process.poll() is None:
                assert daemon.stop() == 0
                assert daemon.leftovers() == []
                assert store is None or store.names() == []


def rewritten(daemon: Daemon, change: Callable[[dict[str, Any]], None]) -> None:
    """The state of a dead daemon as if it had been another one's."""
    path = f"{daemon.control}{state_file.SUFFIX}"
    file = state_file.StateFile(path)
    found = file.read(daemon.settings.name)
    assert found is not None
    data = plain(found)
    change(data)
    file.write_plain(data)
    file.close()
