"""A typed reader of parsed tables. It collects every problem as a message for the operator."""

import difflib
import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

T = TypeVar("T")

LATER = "comes in a later version"
COMMAND_LINE = "command line"
HIDDEN = "a hidden value"
SHOWN_MAX = 60
"""Characters of a wrong value that a message repeats."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_ -]+")


class NotYet(ValueError):
    """A value of a future feature. The text names the values that work now."""


class PartWrong(ValueError):
    """Only `part` of a value is wrong. The rest may be a secret, and is not repeated."""

    def __init__(self, part: str, allowed: str) -> None:
        super().__init__(allowed)
        self.part = part


def shown(value: object) -> str:
    """The value almost as written, on one line, without terminal control characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) and len(name) <= SHOWN_MAX else shown(name)


def _meant(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word[:SHOWN_MAX], known, n=1)
    return f", did you mean {close[0]}?" if close else ""


class Table:
    """One table. `take` reads each known key; keys that are left over are unknown."""

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
        """Report a missing key, unless the table as a whole was already reported as wrong."""
        if not self._broken:
            self.failed.add(key)
            self._problems.append(f"{self.where}{key}: found nothing, expected {allowed}")

    def take(self, key: str, read: Callable[[object], T], default: T, *, secret: bool = False) -> T:
        """Read one value. For a wrong one `read` raises ValueError with what is allowed.

        A message does not repeat a `secret` value.
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
        """Read a key that has no effect yet: the value is checked, and only its default is allowed.

        `written` is that default as written in a file.
        """

        def only_the_default(value: object) -> T:
            found = read(value)
            if found != default:
                raise NotYet(f"{written}, or no such key")
            return found

        self.take(key, only_the_default, default)

    def not_yet(self, key: str, read: Callable[[object], object]) -> None:
        """Read a key that has no effect yet and no default: every value is refused."""

        def refuse(value: object) -> None:
            read(value)
            raise NotYet("no such key")

        self.take(key, refuse, None)

    def unknown(self) -> list[str]:
        return [key for key in self.data if key not in self.known]


class Reader:
    """The whole document. `source` is its name in messages: a path, or the command line."""

    def __init__(self, source: str, data: Mapping[str, object]) -> None:
        self.source = source
        self.data = data
        self.problems: list[str] = []
        self._tables: dict[str, list[Table]] = {}

    def table(self, name: str) -> Table:
        """Return table [name]; empty if it is missing."""
        data = self.data.get(name, {})
        if isinstance(data, dict):
            return self._add(name, f"[{name}]", data)
        self._malformed(name, data, f"a table: [{name}]")
        return self._add(name, f"[{name}]", {}, broken=True)

    def tables(self, name: str) -> list[Table]:
        """Return each [[name]], in order. Messages number them if there are several."""
        data = self.data.get(name, [])
        if not isinstance(data, list) or not all(isinstance(one, dict) for one in data):
            self._malformed(name, data, f"tables, each begun with [[{name}]]")
            return []
        titles = [f"[[{name}]]" if len(data) == 1 else f"[[{name}]] #{at}" for at in _count(data)]
        return [self._add(name, title, one) for title, one in zip(titles, data, strict=True)]

    def options(self, given: Mapping[str, object]) -> Table:
        """Command-line options, read as a table."""
        return Table(self.problems, f"{COMMAND_LINE}: ", given)

    def within(self, table: Table, key: str) -> Table:
        """A table inside a table, such as [app.environment] in [app]."""
        table.known.append(key)
        data = table.data.get(key, {})
        where = f"{table.where.rstrip(' ]')}.{key}] "
        if isinstance(data, dict):
            return Table(self.problems, where, data)
        table.wrong(key, data, f"a table: {where.rpartition(': ')[2].strip()}")
        return Table(self.problems, where, {}, broken=True)

    def refuse_unknown(self, known: Collection[str], reserved: Collection[str]) -> None:
        """Report tables and keys that no reader took."""
        for name, value in self.data.items():
            if name in reserved:
                self.problems.append(f"{self.source}: [{name}] {LATER}. Leave it out")
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
