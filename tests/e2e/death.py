"""Kills a service's supervisor, and waits for the one that systemd starts after it."""

import signal

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.e2e.service import Service
from wssupervisor.errors import WssError


def kill(service: Service, number: signal.Signals = signal.SIGKILL) -> int:
    """The supervisor alone; its pid."""
    pid = service.main_pid()
    service.machine.run("kill", f"-{number.value}", str(pid))
    return pid


def wait_next(service: Service, pid: int, within: float = HANG_SECONDS) -> None:
    """Until another process than that supervises."""

    def supervises() -> bool:
        try:
            return service.status()["pid"] not in (pid, 0)
        except WssError:
            return False

    wait_until(supervises, within=within, what=f"a supervisor after {pid}", every=0.05)
