"""Foreign texts and lists, cut to a maximum length where they are made.

A reason travels far: over the control socket, where a line is at most 64 KiB, into the history,
the journal and the saved state. A long one (3,000 unknown keys, a path, the last lines of a
worker) must not make any of them fail.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

TEXT_CHARS = 8000
"""Limit of one text: at worst six bytes a character, which leaves room for the rest of a line."""
ITEM_CHARS = 500
"""Limit of each of several texts, such as the mistakes of a configuration."""


def bounded(text: str, most: int = TEXT_CHARS) -> str:
    """Return the text. A long one is cut, with the number of missing characters."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... [{len(text) - most} characters left out]"


def bounded_all(texts: Sequence[str], rest: str, most: int = TEXT_CHARS) -> list[str]:
    """Return as many of the first texts as fit, then how many are left out, and `rest`."""
    found: list[str] = []
    for text in _each(texts):
        most -= len(text) + 1
        if most < 0:
            return [*found, f"[{len(texts) - len(found)} more left out{rest}]"]
        found.append(text)
    return found


def bounded_fields(fields: Mapping[str, T]) -> dict[str, T | str]:
    """Bound the fields of a note: a reason may be made of several texts of maximum length."""
    return {
        name: bounded(value) if isinstance(value, str) else value for name, value in fields.items()
    }


def _each(texts: Iterable[str]) -> Iterable[str]:
    return (bounded(text, ITEM_CHARS) for text in texts)
