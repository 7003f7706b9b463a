"""Remembers how many slots systemd passed at the last start, to report a smaller number.

A changed socket unit, or one that was started while workers still held its sockets, can leave the
service with fewer. It serves all clients then, but has less room for old generations.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict, TypeGuard

import structlog

from wssupervisor import bounded_json
from wssupervisor.control.paths import OWN
from wssupervisor.own_directory import OwnDirectory
from wssupervisor.runtime.listeners.pool import Pool

log = structlog.get_logger()

FILE = "slots.json"
NEW = "slots.new"
BYTES_MAX = 1 << 16
COUNT_MAX = 1 << 20
MODE = 0o640


class SlotCount(TypedDict):
    """The number of slots that a listener had, and its address: another one has others."""

    address: str
    slots: int


class SlotCounts:
    """A file below systemd's StateDirectory=; without one nothing is remembered."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        directory = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        self._directory = OwnDirectory(Path(directory, OWN), makes=True) if directory else None
        self._now = {
            pool.name: SlotCount(address=pool.address, slots=len(pool.slots))
            for pool in pools
            if pool.source == "systemd"
        }

    def missing(self) -> dict[str, int]:
        """Return the earlier number of slots of each listener that has fewer now."""
        known = self._read()
        return {
            name: before["slots"]
            for name, now in self._now.items()
            if (before := known.get(name)) is not None
            and before["address"] == now["address"]
            and before["slots"] > now["slots"]
        }

    def remember(self) -> None:
        """Record the numbers for the next start."""
        if self._directory is None or self._read() == self._now:
            return
        try:
            self._write(self._directory)
        except OSError as error:  # only a warning: the instance must keep serving
            path, why = str(self._directory.path / FILE), error.strerror or str(error)
            log.warning("cannot remember the number of slots", path=path, why=why)

    def _write(self, directory: OwnDirectory) -> None:
        """Write the numbers into the directory. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            directory.remove(NEW)
        with open(  # noqa: PTH123 - below the directory's descriptor
            directory.open(NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w", encoding="utf-8"
        ) as file:
            json.dump(self._now, file)
        directory.replace(NEW, FILE)

    def _read(self) -> dict[str, SlotCount]:
        """Return what an earlier run wrote; empty if the file is missing or not of this format."""
        if self._directory is None:
            return {}
        try:
            found = bounded_json.parse(self._directory.read(FILE, BYTES_MAX))
        except (OSError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {name: one for name, one in found.items() if _is_count(one)}


def _is_count(one: object) -> TypeGuard[SlotCount]:
    return (
        isinstance(one, dict)
        and isinstance(one.get("address"), str)
        and type(count := one.get("slots")) is int
        and 0 <= count <= COUNT_MAX
    )
