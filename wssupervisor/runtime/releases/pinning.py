"""Pinning: `directory`, as written, becomes the resolved one wherever it is named; pure.

A release stays what it was judged as only if nothing that its workers were given leads through a
symlink that the next deploy switches.
"""

import re
from functools import lru_cache

_BEFORE = (
    r"^|(?<=[\s=:,;\"'`(\[{<>|&@!])"
    r"|(?<=[:/]//)"  # file:///srv/chat and sqlite:////srv/chat, but not http://srv/chat
    r"|(?<=^-[A-Za-z])|(?<=[\s=,\"']-[A-Za-z])"  # -I/srv/chat/include
    r"|(?<=^file://localhost)"
)
"""What a path follows; anything else is the end of a longer one."""

_AFTER = r"(?=$|[\s/=:,;\"'`)\]}<>|&?#])"
"""What a path's component is followed by; anything else makes its name a longer one."""


def pin(text: str, written: str, real: str) -> str:
    """Replace `written` (absolute) by `real` where it stands as whole components of a path.

    Nothing else is resolved: a venv's python must stay a symlink.
    """
    if written in (real, "/"):
        return text
    return _pattern(written).sub(lambda _: real, text)


@lru_cache(maxsize=8)
def _pattern(written: str) -> re.Pattern[str]:
    """Of the path, also with more slashes, or "." components, between its own."""
    components = [re.escape(one) for one in written.split("/") if one]
    path = "/" + r"/+(?:\./+)*".join(components)
    return re.compile(f"(?:{_BEFORE}){path}{_AFTER}")


_SEPARATORS = re.compile(r"[\s=:,;\"'`()\[\]{}<>|&@!?#]+")


def paths_in(text: str) -> list[str]:
    """What may be paths in an argument or a value: its parts that have a slash in them."""
    return [part for part in _SEPARATORS.split(text) if "/" in part]
