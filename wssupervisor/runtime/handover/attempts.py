"""Recoveries that did not succeed, remembered over starts.

A recovery may fail for a reason that passes (no descriptors, a full disk), so it is tried again.
One that fails in the same way each time would keep the instance down for ever: it is given up.
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
"""After the path of the state."""
SAME_MAX = 3
"""Failures in one place, one after the other."""
UNFINISHED_MAX = 5
"""Recoveries one after the other that ended without a word: killed by a watchdog, or crashed."""
SETTLED_SECONDS = 10.0
"""What goes wrong so soon after a recovery is held to be of it."""
BYTES_MAX = 1 << 14
REASON_CHARS = 300
UNFINISHED = "it did not come to its end"
BEGAN = "it served"


def hopeless(ends: Sequence[str]) -> str | None:
    """Why there is no use in trying once more, from how the last ones ended; None if there is."""
    last = ends[-1] if ends else BEGAN
    most = UNFINISHED_MAX if last == UNFINISHED else SAME_MAX
    if last == BEGAN or list(ends[-most:]) != [last] * most:
        return None
    return f"{most} times in a row: {last}"


class Attempts:
    """Owns the file. Where it cannot be written nothing is counted."""

    def __init__(self, path: str) -> None:
        self._directory = OwnDirectory(Path(path).parent)
        self._name = Path(path).name
        self._ends: list[str] | None = None
        """How the last recoveries ended, this one included; None while there is none."""

    def begin(self) -> str | None:
        """Before a recovery; why it must not be tried once more, and then nothing is counted."""
        before = self._read()
        if (why := hopeless(before)) is not None:
            self.over()
            return why
        self._ends = [*before, UNFINISHED][-UNFINISHED_MAX:]
        self._write()
        return None

    def began(self) -> None:
        """It serves: a death without a word is another's doing from now on."""
        self._end(BEGAN)

    def failed(self, error: BaseException) -> None:
        """What it failed of; nothing where none is under way."""
        if self._ends is not None:
            self._end(described(error))
            log.error(
                "the recovery failed",
                why=self._ends[-1],
                attempt=_in_a_row(self._ends),
                advice=f"after {SAME_MAX} such failures the next start goes on without its state",
            )

    def over(self) -> None:
        """It has succeeded, or there is nothing to recover."""
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
    """What it is and where it was raised: that stays the same while pids in its text do not."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    place = ""
    for frame, line in walk_tb(error.__traceback__):
        place = f"{Path(frame.f_code.co_filename).name}:{line}"
    return f"{type(error).__name__} in {place}"[:REASON_CHARS]


def _in_a_row(ends: Sequence[str]) -> int:
    """How many of the last ones are the same."""
    return len(list(takewhile(lambda one: one == ends[-1], reversed(ends))))
