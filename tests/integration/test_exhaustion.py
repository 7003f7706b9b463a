"""A daemon without a free descriptor keeps serving, and recovers when it has one."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from examples.load.verdict import Cutover
from tests.harness.daemon import Daemon
from tests.harness.load import load
from tests.harness.settings import Settings

ANSWERS = 600
SPARES = (2, 10, 20, 23, 26, 29, 40)
"""The starts of both workers of a generation meet the limit among these, and the last fits."""


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
        daemon.wait_unasked()
        with without_descriptors(daemon.pid()):
            clients.more(ANSWERS)
        cutover = daemon.reload()
        clients.more(ANSWERS)
        clients.assert_unnoticed([cutover])


@contextmanager
def with_spare(pid: int, spare: int) -> Iterator[None]:
    """Inside, the process can open `more` descriptors."""
    old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    held = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + spare, old[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, old)


def test_at_any_limit_a_reload_works_or_fails_for_it_and_serving_continues(
    settings: Settings,
) -> None:
    verdicts: dict[int, str] = {}
    cutovers = []
    with Daemon(settings) as daemon, load(daemon.start()) as clients:
        for spare in SPARES:
            daemon.wait_unasked()
            with with_spare(daemon.pid(), spare):
                answer = daemon.ctl("reload", "--json")
            verdicts[spare] = answer.err.strip() or "ok"
            if answer.status == 0:
                cutovers.append(Cutover.from_verdict(answer.document))
            assert daemon.process.poll() is None, verdicts
        cutovers.append(daemon.reload())
        clients.more(ANSWERS)
        clients.assert_unnoticed(cutovers)
    print("\n".join(f"{spare:3}: {said}" for spare, said in verdicts.items()))

    assert all(said == "ok" or "open files" in said for said in verdicts.values()), verdicts
    assert "ok" not in verdicts[SPARES[0]]
    assert verdicts[SPARES[-1]] == "ok"
