"""Texts and lists whose length somebody else decides, cut where they are made.

A reason travels far: over the control socket, where a line is at most 64 KiB, into the history, the
journal and the saved state. Whatever made it long (3,000 unknown keys, a path, a worker's last
words), it must not make any of them fail.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

TEXT_CHARS = 8000
"""Of one text: six bytes each at worst, which leaves room for the rest of a line."""
ITEM_CHARS = 500
"""Of one text of several, such as one mistake of a configuration."""


def bounded(text: str, most: int = TEXT_CHARS) -> str:
    """The text; of one that is too long its beginning, and how much is missing."""
    if len(text) <= most:
        return text
    return f"{text[:most]}... [{len(text) - most} characters left out]"


def bounded_all(texts: Sequence[str], rest: str, most: int = TEXT_CHARS) -> list[str]:
    """As many as there is room for, the first ones; then how many are left out, and `rest`."""
    found: list[str] = []
    for text in _each(texts):
        most -= len(text) + 1
        if most < 0:
            return [*found, f"[{len(texts) - len(found)} more left out{rest}]"]
        found.append(text)
    return found


def bounded_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Of a note: a reason may be put together from others, each as long as a text can be."""
    return {
        name: bounded(value) if isinstance(value, str) else value for name, value in fields.items()
    }


def _each(texts: Iterable[str]) -> Iterable[str]:
    return (bounded(text, ITEM_CHARS) for text in texts)
