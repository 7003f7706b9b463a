"""How many descriptors the supervisor may have open, beside how many it needs."""

import errno
import os
import resource
from contextlib import suppress

import structlog

from wssupervisor.config.model import Config
from wssupervisor.errors import ListenFailed
from wssupervisor.runtime.workers.process import SOFT_LIMIT

log = structlog.get_logger()

HOW = "set LimitNOFILE= in the unit, or ulimit -n"
SPAWN_DESCRIPTORS = 12
"""Opened while a worker is started, counting those that are closed again."""
RESERVED = 12
"""Kept free by starts of workers: for probes, counts, a control client, and the files of state."""


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


def need_room() -> None:
    """For one more worker, and for all that must go on beside it. Raises OSError.

    Where it were noticed half-way, it would be the probe of the worker that fails, or a count.
    """
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return
    if _open_now(allowed) + SPAWN_DESCRIPTORS + RESERVED > allowed:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _open_now(allowed: int) -> int:
    try:
        # Before Linux 6.2 this is 0.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))  # noqa: PTH116, PTH208
    except OSError:
        return allowed  # there is none left to look with


def in_words(error: Exception) -> str:
    """What went wrong; of a limit that was met, with what to do."""
    if not isinstance(error, OSError):
        return str(error) or repr(error)
    if error.errno == errno.EMFILE:
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"too many open files (at most {allowed} are allowed); {HOW}"
    if error.errno == errno.ENFILE:
        return "too many open files on this machine (sysctl fs.file-max)"
    return error.strerror or str(error)


def check_limit(config: Config) -> None:
    """Raises ListenFailed if not even one generation would fit."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return
    if allowed < (least := config.descriptors_at_start()):
        raise ListenFailed(
            f"at most {allowed} open files are allowed, and the supervisor needs {least} to start"
            f" and {config.descriptors_wanted()} with all drains; {HOW}"
        )


def report_limit(config: Config) -> None:
    """What fits; a warning where a reload or a drain will meet the limit."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return
    fit, wanted = config.generations_within(allowed), config.descriptors_wanted()
    if allowed < wanted:
        log.warning(
            "too few open files are allowed",
            allowed=allowed,
            needed=wanted,
            generations_that_fit=fit,
            generations_wanted=config.generations_wanted(),
            advice=HOW,
        )
    else:
        log.info("open files", allowed=allowed, needed=wanted, generations_that_fit=fit)
