"""Restores files that other programs delete under a running instance, within a second or two.

Such programs are cleaners of temporary directories, and logind at the end of a session.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import structlog

from wssupervisor.errors import ListenFailed
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.listeners.unix_pool import UnixPool

log = structlog.get_logger()


class Upkeep:
    """`parts`: name -> a call that restores it if needed; returns whether it did, or raises."""

    def __init__(self, parts: Mapping[str, Callable[[], bool]], pools: Iterable[Pool]) -> None:
        self._parts = dict(parts)
        for pool in pools:
            if isinstance(pool, UnixPool):
                self._parts[f"listener {pool.name}"] = partial(_complain, pool)
        self._failing: dict[str, str] = {}

    def look(self) -> None:
        """Restore what is missing. Never raises: failures are logged once, retried at each look."""
        for what, mend in self._parts.items():
            try:
                made = mend()
            except Exception as error:  # noqa: BLE001 - at the loop's edge: it must not end what serves
                why = str(error)
                if self._failing.get(what) != why:
                    log.error(  # noqa: TRY400 - what to do about it is not in the traceback
                        "deleted by another program, and cannot be restored yet", what=what, why=why
                    )
                self._failing[what] = why
                continue
            failed = self._failing.pop(what, None)
            if made:
                log.warning("deleted by another program, and restored", what=what)
            elif failed is not None:
                log.info("restored", what=what)


def _complain(pool: UnixPool) -> bool:
    """Raise ListenFailed if the file is gone: workers hold the socket, so only a restart helps."""
    if pool.is_swept():
        raise ListenFailed(
            f"the socket file of {pool.address} was removed, so no client can connect. Restart the"
            " instance"
        )
    return False
