"""Files that others sweep away under a running instance are made again, within a second or two.

Cleaners of temporary directories, the end of a login session, a full /run: whatever takes them.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import structlog

from wssupervisor.errors import ListenFailed
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.listeners.unix_pool import UnixPool

log = structlog.get_logger()


class Upkeep:
    """`parts`: by what they look after; each returns whether it made something again, or raises."""

    def __init__(self, parts: Mapping[str, Callable[[], bool]], pools: Iterable[Pool]) -> None:
        self._parts = dict(parts)
        for pool in pools:
            if isinstance(pool, UnixPool):
                self._parts[f"listener {pool.name}"] = partial(_complain, pool)
        self._failing: dict[str, str] = {}

    def look(self) -> None:
        """Raises nothing; what cannot be made is said once, and tried again at each look."""
        for what, mend in self._parts.items():
            try:
                made = mend()
            except Exception as error:  # noqa: BLE001 - at the loop's edge: it must not end what serves
                why = str(error)
                if self._failing.get(what) != why:
                    log.error(  # noqa: TRY400 - what to do about it is not in the traceback
                        "swept away, and cannot be made again yet", what=what, why=why
                    )
                self._failing[what] = why
                continue
            failed = self._failing.pop(what, None)
            if made:
                log.warning("swept away by another program, and made again", what=what)
            elif failed is not None:
                log.info("there again", what=what)


def _complain(pool: UnixPool) -> bool:
    """Its workers have the old socket: only a restart gives them another. Raises ListenFailed."""
    if pool.is_swept():
        raise ListenFailed(
            f"the socket file of {pool.address} was removed, so that no client can connect; restart"
            " the instance"
        )
    return False
