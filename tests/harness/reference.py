"""The tables of docs/reference, read back: each key with its types, below the key that holds it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_SECTION = re.compile(r"^## `?([^`\n]+)`?$")
_PLACE = re.compile(r"^## `([^`\n]+)`$")
_ROW = re.compile(r"^\| `(\w+)` \| ([a-z ]+) \| (.+) \|$")


@dataclass(frozen=True, slots=True)
class Key:
    """`place`: what holds it, as `generations[].workers[]`, "" for the document itself."""

    place: str
    name: str
    kinds: tuple[str, ...]
    optional: bool
    """It may be missing, not only null."""

    def allows(self, value: object) -> bool:
        allowed = tuple(kind for name in self.kinds for kind in KINDS[name])
        return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def keys(page: str, within: str = "") -> Iterator[Key]:
    """Of a page's tables; `within`: only of the sections from this heading on."""
    place, begun = "", not within
    for line in (ROOT / "docs/reference" / page).read_text().splitlines():
        if section := _SECTION.match(line):
            begun = begun or section[1] == within
            named = _PLACE.match(line)
            place = named[1] if named else ""
        elif begun and (row := _ROW.match(line)):
            kinds = tuple(row[2].split(" or "))
            yield Key(place, row[1], kinds, optional="Missing" in row[3])


def differences(document: dict[str, Any], known: list[Key], place: str = "") -> Iterator[str]:
    """What the document has and the page has not, and the other way round."""
    here = {key.name: key for key in known if key.place == place}
    yield from (f"{place}: {name} is not on the page" for name in document.keys() - here.keys())
    for key in here.values():
        where = f"{place}.{key.name}".removeprefix(".")
        if key.name not in document:
            if not key.optional:
                yield f"{where} is on the page, and not in the document"
            continue
        value = document[key.name]
        if not key.allows(value):
            yield f"{where}: {value!r} is none of {key.kinds}"
        yield from _inside(value, known, where)


def _inside(value: object, known: list[Key], where: str) -> Iterator[str]:
    """Of an object that the page describes, and of each in such a list."""
    places = {key.place for key in known}
    match value:
        case dict() if where in places:
            yield from differences(value, known, where)
        case list() if f"{where}[]" in places:
            for one in value:
                yield from differences(one, known, f"{where}[]")


def events(page: str) -> dict[str, set[str]]:
    """Kind of event -> its fields, of the table of kinds."""
    found = {}
    text = (ROOT / "docs/reference" / page).read_text()
    table = text.partition("\n## Kinds of events\n")[2].partition("\n## ")[0]
    for line in table.splitlines():
        row = re.match(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| [^|]+ \| (.*`\w+`.*) \|$", line)
        if row:
            for kind in re.findall(r"`([a-z-]+)`", row[1]):
                found[kind] = set(re.findall(r"`(\w+)`", row[2]))
    return found


def names(page: str, within: str) -> set[str]:
    """The names in the first column of a section's table."""
    text = (ROOT / "docs/reference" / page).read_text()
    section = text.partition(f"\n## {within}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
