"""Pinning: every mention of `directory` becomes the resolved directory. Pure.

A release stays as it was judged only if nothing that its workers get leads through a symlink that
the next deploy switches.
"""

import re
from functools import lru_cache

_BEFORE = (
    r"^|(?<=[\s=:,;\"'`(\[{<>|&@!])"
    r"|(?<=[:/]//)"  # file:///srv/chat and sqlite:////srv/chat, but not http://srv/chat
    r"|(?<=^-[A-Za-z])|(?<=[\s=,\"']-[A-Za-z])"  # -I/srv/chat/include
    r"|(?<=^file://localhost)"
)
"""What may stand before a path; anything else is part of a longer path."""

_AFTER = r"(?=$|[\s/=:,;\"'`)\]}<>|&?#])"
"""What may stand after a component; anything else is part of a longer name."""


def pin(text: str, written: str, real: str) -> str:
    """Replace `written` (absolute) with `real` wherever it is whole components of a path.

    Nothing else is resolved: a venv's python must stay a symlink.
    """
    if written in (real, "/"):
        return text
    return _pattern(written).sub(lambda _: real, text)


@lru_cache(maxsize=8)
def _pattern(written: str) -> re.Pattern[str]:
    """Matches the path, also with extra slashes or "." components in it."""
    components = [re.escape(one) for one in written.split("/") if one]
    path = "/" + r"/+(?:\./+)*".join(components)
    return re.compile(f"(?:{_BEFORE}){path}{_AFTER}")


_SEPARATORS = re.compile(r"[\s=:,;\"'`()\[\]{}<>|&@!?#]+")


def paths_in(text: str) -> list[str]:
    """Possible paths in an argument or a value: the parts that contain a slash."""
    return [part for part in _SEPARATORS.split(text) if "/" in part]
