"""Changes that may survive, each with the reason why it changes nothing that matters."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutate.changes import Change

FILE = Path(__file__).parent / "explained.toml"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a module and its change, as `./dev mutate` prints both."""

    module: str
    line: str
    change: str
    reason: str

    def covers(self, change: Change) -> bool:
        return (self.module, self.line, self.change) == (change.module, change.text, change.what)


def read() -> list[Entry]:
    """All entries. Raises TypeError if one lacks a key or has an unknown one."""
    with FILE.open("rb") as file:
        return [Entry(**one) for one in tomllib.load(file).get("change", [])]


def reason(change: Change, entries: Iterable[Entry]) -> str | None:
    """Why it may survive; None if it may not."""
    return next((one.reason for one in entries if one.covers(change)), None)
