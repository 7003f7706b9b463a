"""JSON from foreign sources: it can be read, or it raises ValueError."""

import json
from typing import Any

NESTING_MAX = 32
"""Deeper than any JSON of this program, and far from the limit of the interpreter."""


def parse(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError if the text is not plain JSON, or nested too deeply."""
    try:
        found = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _check_nesting(found)
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_nesting(found: Any) -> None:
    level = [found]
    for _ in range(NESTING_MAX):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")
