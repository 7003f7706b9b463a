"""A typed reader over parsed tables that collects every problem, worded for people."""

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

T = TypeVar("T")

LATER = "comes in a later version"
COMMAND_LINE = "command line"
HIDDEN = "a value that is not shown"
SHOWN_MAX = 60
"""Characters of a wrong value that are repeated to its author."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_ -]+")


class NotYet(ValueError):
    """A value that will mean something once its feature is there; the text says what does now."""


class PartWrong(ValueError):
    """Only `part` of a value is wrong; the rest may be a secret, and is not repeated."""

    def __init__(self, part: str, allowed: str) -> None:
        super().__init__(allowed)
        self.part = part


def shown(value: object) -> str:
    """The value as its author wrote it, or nearly: one line, nothing a terminal obeys."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) and len(name) <= SHOWN_MAX else shown(name)


def _meant(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word[:SHOWN_MAX], known, n=1)
    return f", did you mean {close[0]}?" if close else ""


class Table:
    """One table: `take` each key that exists; whatever is then left over has no meaning."""

    def __init__(
        self, problems: list[str], where: str, data: Mapping[str, object], *, broken: bool = False
    ) -> None:
        self.where = where
        self.data = data
        self.known: list[str] = []
        self.failed: set[str] = set()
        self._problems = problems
        self._broken = broken

    def wrong(self, key: str, found: object, allowed: str) -> None:
        self.failed.add(key)
        self._problems.append(f"{self.where}{_key(key)}: found {shown(found)}, expected {allowed}")

    def missing(self, key: str, allowed: str) -> None:
        """Told unless the table as a whole was wrong, which has been told already."""
        if not self._broken:
            self.failed.add(key)
            self._problems.append(f"{self.where}{key}: found nothing, expected {allowed}")

    def take(self, key: str, read: Callable[[object], T], default: T, *, secret: bool = False) -> T:
        """One value; `read` raises ValueError, whose text is what is allowed, for a wrong one.

        A wrong one that is `secret` is not repeated.
        """
        self.known.append(key)
        if key not in self.data:
            return default
        value = self.data[key]
        try:
            return read(value)
        except NotYet as error:
            allowed = str(error).removeprefix("expected ")
            self.failed.add(key)
            self._problems.append(
                f"{self.where}{_key(key)}: found {shown(value)}, which {LATER}; expected {allowed}"
            )
        except ValueError as error:
            part = error.part if isinstance(error, PartWrong) else value
            self.wrong(key, HIDDEN if secret else part, str(error).removeprefix("expected "))
        return default

    def later(self, key: str, read: Callable[[object], T], default: T, *, written: str) -> None:
        """A key without effect yet: checked all the same, and only its default may pass.

        `written` is that default as one writes it.
        """

        def only_the_default(value: object) -> T:
            found = read(value)
            if found != default:
                raise NotYet(f"{written}, or the key left out")
            return found

        self.take(key, only_the_default, default)

    def not_yet(self, key: str, read: Callable[[object], object]) -> None:
        """A key without effect yet and without a default: no value passes."""

        def refuse(value: object) -> None:
            read(value)
            raise NotYet("it left out")

        self.take(key, refuse, None)

    def unknown(self) -> list[str]:
        return [key for key in self.data if key not in self.known]


class Reader:
    """The whole document. `source` names it in messages: a path, or the command line."""

    def __init__(self, source: str, data: Mapping[str, object]) -> None:
        self.source = source
        self.data = data
        self.problems: list[str] = []
        self._tables: dict[str, list[Table]] = {}

    def table(self, name: str) -> Table:
        """[name]; empty where it is left out."""
        data = self.data.get(name, {})
        if isinstance(data, dict):
            return self._add(name, f"[{name}]", data)
        self._malformed(name, data, f"a table: [{name}]")
        return self._add(name, f"[{name}]", {}, broken=True)

    def tables(self, name: str) -> list[Table]:
        """Each [[name]], in order; numbered in messages when there are several."""
        data = self.data.get(name, [])
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            self._malformed(name, data, f"tables, each begun with [[{name}]]")
            return []
        titles = [f"[[{name}]]" if len(data) == 1 else f"[[{name}]] #{at}" for at in _count(data)]
        return [self._add(name, title, one) for title, one in zip(titles, data, strict=True)]

    def options(self, given: Mapping[str, object]) -> Table:
        """Command line options, read as if they were a table."""
        return Table(self.problems, f"{COMMAND_LINE}: ", given)

    def within(self, table: Table, key: str) -> Table:
        """A table that is a value, such as [app.environment] in [app]."""
        table.known.append(key)
        data = table.data.get(key, {})
        where = f"{table.where.rstrip(' ]')}.{key}] "
        if isinstance(data, dict):
            return Table(self.problems, where, data)
        table.wrong(key, data, f"a table: {where.rpartition(': ')[2].strip()}")
        return Table(self.problems, where, {}, broken=True)

    def refuse_unknown(self, known: Collection[str], reserved: Collection[str]) -> None:
        """What was written and nobody took."""
        for name, value in self.data.items():
            if name in reserved:
                self.problems.append(f"{self.source}: [{name}] {LATER}; leave it out")
            elif name not in known:
                self.problems.append(f"{self.source}: {self._no_such(name, value, known)}")
        for name, tables in self._tables.items():
            for table in tables:
                for key in table.unknown():
                    allowed = ", ".join(sorted(table.known))
                    hint = _meant(key, table.known) or self._elsewhere(key, name)
                    self.problems.append(
                        f"{table.where}{_key(key)}: no such key{hint} (allowed: {allowed})"
                    )

    def _add(
        self, name: str, title: str, data: Mapping[str, object], *, broken: bool = False
    ) -> Table:
        table = Table(self.problems, f"{self.source}: {title} ", data, broken=broken)
        self._tables.setdefault(name, []).append(table)
        return table

    def _malformed(self, name: str, found: object, allowed: str) -> None:
        self.problems.append(f"{self.source}: {name}: found {shown(found)}, expected {allowed}")

    def _no_such(self, name: str, value: object, known: Collection[str]) -> str:
        allowed = f" (allowed: {', '.join(known)})"
        if isinstance(value, dict | list):
            return f"[{_key(name)}]: no such table{_meant(name, known)}{allowed}"
        hint = self._elsewhere(name, "")
        return f"{_key(name)}: no such key outside a table{hint}{allowed}"

    def _elsewhere(self, key: str, name: str) -> str:
        homes = [
            other
            for other, tables in self._tables.items()
            if other != name and any(key in table.known for table in tables)
        ]
        return f", it belongs in {' or '.join(f'[{home}]' for home in homes)}" if homes else ""


def _count(items: Collection[object]) -> range:
    return range(1, len(items) + 1)
