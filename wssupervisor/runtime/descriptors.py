"""How many descriptors the supervisor may have open, beside how many it needs."""

import resource
from contextlib import suppress

import structlog

from wssupervisor.config import Config
from wssupervisor.errors import ListenFailed
from wssupervisor.runtime.processes import SOFT_LIMIT

log = structlog.get_logger()


def raise_limit() -> None:
    """To the hard limit, for ourselves; workers keep what was set (`files_of_workers`)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lower_limit() -> None:
    """As we were started, for a program in our place; what is open stays open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT_LIMIT, hard))


def check_limit(config: Config) -> None:
    """Warn of a limit that a reload or a drain will meet. Raises ListenFailed if a start would."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return
    how = "set LimitNOFILE= in the unit, or ulimit -n"
    if allowed < (least := config.descriptors_at_start()):
        raise ListenFailed(
            f"at most {allowed} open files are allowed, and the supervisor needs {least} to start"
            f" and {config.descriptors_wanted()} with all drains; {how}"
        )
    if allowed < (wanted := config.descriptors_wanted()):
        log.warning("too few open files are allowed", allowed=allowed, needed=wanted, advice=how)
