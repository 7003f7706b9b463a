"""Counts failed recoveries across starts.

A recovery may fail for a reason that passes (no descriptors, a full disk), so the next start tries
again. A recovery that always fails in the same way would keep the instance down for ever, so the
supervisor gives it up.
"""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from traceback import walk_tb

import structlog

from wssupervisor import bounded_json
from wssupervisor.own_directory import OwnDirectory

log = structlog.get_logger()

SUFFIX = ".tries"
"""Appended to the path of the state."""
SAME_MAX = 3
"""Consecutive failures in the same place."""
UNFINISHED_MAX = 5
"""Consecutive recoveries that ended without an error: killed by a watchdog, or crashed."""
SETTLED_SECONDS = 10.0
"""A failure this soon after a recovery counts as a failure of the recovery."""
BYTES_MAX = 1 << 14
REASON_CHARS = 300
UNFINISHED = "it did not finish"
BEGAN = "it served"


def hopeless(ends: Sequence[str]) -> str | None:
    """Return why another recovery would fail like the last ones; None if it may succeed."""
    last = ends[-1] if ends else BEGAN
    most = UNFINISHED_MAX if last == UNFINISHED else SAME_MAX
    if last == BEGAN or list(ends[-most:]) != [last] * most:
        return None
    return f"{most} times in a row: {last}"


class Attempts:
    """Owns the file. If it cannot be written, nothing is counted."""

    def __init__(self, path: str) -> None:
        self._directory = OwnDirectory(Path(path).parent)
        self._name = Path(path).name
        self._ends: list[str] | None = None
        """How the last recoveries ended, this one included; None if none is under way."""

    def begin(self) -> str | None:
        """Count a recovery before it starts; return why it must not start, counting nothing."""
        before = self._read()
        if (why := hopeless(before)) is not None:
            self.over()
            return why
        self._ends = [*before, UNFINISHED][-UNFINISHED_MAX:]
        self._write()
        return None

    def began(self) -> None:
        """Record that the recovered supervisor serves: a crash from now on has another cause."""
        self._end(BEGAN)

    def failed(self, error: BaseException) -> None:
        """Record why the recovery failed; does nothing if none is under way."""
        if self._ends is not None:
            self._end(described(error))
            log.error(
                "the recovery failed",
                why=self._ends[-1],
                attempt=_in_a_row(self._ends),
                advice=f"after {SAME_MAX} such failures the next start ignores the saved state",
            )

    def over(self) -> None:
        """Forget the attempts: the recovery has succeeded, or there is nothing to recover."""
        self._ends = None
        with suppress(OSError):
            self._directory.remove(self._name)

    def _end(self, how: str) -> None:
        if self._ends is not None:
            self._ends[-1] = how
            self._write()

    def _read(self) -> list[str]:
        try:
            found = bounded_json.parse(self._directory.read(self._name, BYTES_MAX))
        except (OSError, ValueError):
            return []
        return [str(one) for one in found] if isinstance(found, list) else []

    def _write(self) -> None:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            with open(  # noqa: PTH123 - below the directory's descriptor
                self._directory.open(self._name, flags, 0o600), "w", encoding="utf-8"
            ) as file:
                json.dump(self._ends, file)
        except OSError as error:
            log.warning("recoveries cannot be counted", why=error.strerror or str(error))


def described(error: BaseException) -> str:
    """Return the error's type and place, without its text: pids in it differ in each attempt."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        place = f"{Path(frame.f_code.co_filename).name}:{line}"
    return f"{type(error).__name__} in {place}"[:REASON_CHARS]


def _in_a_row(ends: Sequence[str]) -> int:
    """How many of the last attempts ended in the same way."""
    return len(list(takewhile(lambda one: one == ends[-1], reversed(ends))))
