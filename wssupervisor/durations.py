"""Durations as text: "500ms", "30s", "10min", "2h", "infinity"."""

import math
import re

UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
ALLOWED = 'a duration such as "500ms", "30s", "10min", "2h" or "infinity"'

_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|h|d)")


def parse_duration(text: str) -> float:
    """Return seconds; `math.inf` for "infinity". The ValueError names what is allowed."""
    if text == "infinity":
        return math.inf
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"expected {ALLOWED}")
    seconds = float(found[1]) * UNITS[found[2]]
    if math.isinf(seconds):  # hundreds of digits are a mistake, not "no limit"
        raise ValueError(f"expected {ALLOWED}")
    return seconds


def format_duration(seconds: float) -> str:
    """Return text with the two largest units that are not zero."""
    if math.isinf(seconds):
        return "infinity"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 1.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    parts = []
    for unit in ("d", "h", "min", "s"):
        count, whole = divmod(whole, int(UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
