"""A daemon that has no descriptor left serves on, and works again when it has."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings

ANSWERS = 600


@contextmanager
def without_descriptors(pid: int) -> Iterator[None]:
    """Inside, the process can open nothing more."""
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    held = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (held, old[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, old)


def test_a_daemon_without_descriptors_serves_on_and_recovers(settings: Settings) -> None:
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        with without_descriptors(daemon.status()["pid"]):
            clients.more(ANSWERS)
        cutover = daemon.reload()
        clients.more(ANSWERS)
        clients.assert_unnoticed([cutover])
