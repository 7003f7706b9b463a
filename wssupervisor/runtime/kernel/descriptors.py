"""Descriptors: how many the supervisor may open and needs, and what a child gets."""

import contextlib
import errno
import itertools
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress

import structlog

from wssupervisor.config.model import Config
from wssupervisor.errors import ListenFailed

FIRST_DESCRIPTOR = 3
SOFT_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
"""Limit of open files at our start: workers get it, while we raise our own."""

log = structlog.get_logger()

HOW = "Set LimitNOFILE= in the unit, or ulimit -n"
SPAWN_DESCRIPTORS = 12
"""Opened while a worker starts, including those that are closed again."""
RESERVED = 12
"""Left free when workers start: for probes, counts, a control client, and state files."""


def raise_limit() -> None:
    """Raise our own limit to the hard limit; workers keep what was set (`files_of_workers`)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lower_limit() -> None:
    """Restore the limit of our start, for the program that replaces us; open files stay open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT_LIMIT, hard))


def need_room() -> None:
    """Check that one more worker fits beside all other work. Raises OSError (EMFILE).

    Noticed later, the shortage would fail the worker's probe, or a census.
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
        return allowed  # no descriptor is left to look with


def in_words(error: Exception) -> str:
    """The error as a sentence; if a limit was reached, with what to do."""
    if not isinstance(error, OSError):
        return str(error) or repr(error)
    if error.errno == errno.EMFILE:
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"too many open files (at most {allowed} are allowed). {HOW}"
    if error.errno == errno.ENFILE:
        return "too many open files on this machine (sysctl fs.file-max)"
    return error.strerror or str(error)


def check_limit(config: Config) -> None:
    """Check the limit of open files. Raises ListenFailed if not even one generation would fit."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return
    if allowed < (least := config.descriptors_at_start()):
        raise ListenFailed(
            f"at most {allowed} open files are allowed, but the supervisor needs {least} to start"
            f" and {config.descriptors_wanted()} with all drains. {HOW}"
        )


def report_limit(config: Config) -> None:
    """Log what fits; a warning if a reload or a drain will reach the limit."""
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


def keep_descriptors() -> None:
    """Keep workers from inheriting what our own parent left open in us."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the descriptor of the listing is closed again
                os.set_inheritable(int(name), False)


def files_of_workers() -> str:
    """The argument of `ulimit -n` in the shim that starts a worker."""
    return "unlimited" if SOFT_LIMIT == resource.RLIM_INFINITY else str(SOFT_LIMIT)


def placing(placed: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """File actions for posix_spawn that put each descriptor (own, target) in its place.

    Each is moved out of the way first, so that none is overwritten before it is placed: to the
    lowest numbers that none of them has, because higher ones may be beyond the limit of open files.
    """
    taken = {number for pair in placed for number in pair}
    free = (number for number in itertools.count(FIRST_DESCRIPTOR) if number not in taken)
    high = dict(zip((own for own, _ in placed), free, strict=False))
    moves = [(os.POSIX_SPAWN_DUP2, own, up) for own, up in high.items()]
    moves += [(os.POSIX_SPAWN_DUP2, high[own], target) for own, target in placed]
    closes = [(os.POSIX_SPAWN_CLOSE, up) for up in high.values()]
    return [*moves, *closes]  # type: ignore[list-item] # CLOSE takes two items, typeshed has one


def inherited(descriptor: int) -> socket.socket:
    """A socket from the program before us, by its number in this process; ours from here on."""
    found = socket.socket(fileno=descriptor)
    found.setblocking(False)
    return found
