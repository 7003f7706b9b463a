"""How many slots systemd passed the last time: fewer than that is told, not taken in silence.

A changed socket unit, or one that was started while workers still held its sockets, can leave the
service with fewer. It serves all clients then, but has less room for old generations.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog

from wssupervisor.runtime.pool import Pool

log = structlog.get_logger()

FILE = "slots.json"


class SlotCounts:
    """Kept in systemd's StateDirectory=; without one nothing is remembered."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        directory = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        self._path = Path(directory, FILE) if directory else None
        self._now = {
            pool.name: {"address": pool.address, "slots": len(pool.slots)}
            for pool in pools
            if pool.source == "systemd"
        }

    def missing(self) -> dict[str, int]:
        """How many slots each listener had that has fewer now."""
        known = self._read()
        return {
            name: before["slots"]
            for name, now in self._now.items()
            if (before := known.get(name)) is not None
            and before["address"] == now["address"]
            and before["slots"] > now["slots"]
        }

    def remember(self) -> None:
        """What there is now is what there was, from the next start on."""
        if self._path is None or self._read() == self._now:
            return
        new = self._path.with_suffix(".new")
        try:
            new.write_text(json.dumps(self._now), encoding="utf-8")
            new.replace(self._path)
        except OSError as error:  # it warns, no more: that must not end what serves
            log.warning("cannot remember the number of slots", path=str(self._path), why=str(error))

    def _read(self) -> dict[str, dict[str, Any]]:
        """What an earlier run wrote; whatever else is there counts as nothing."""
        if self._path is None:
            return {}
        with contextlib.suppress(OSError, ValueError, AttributeError, KeyError, TypeError):
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return {
                str(name): {"address": str(one["address"]), "slots": int(one["slots"])}
                for name, one in found.items()
            }
        return {}
