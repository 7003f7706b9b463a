r"""Foreign text made safe to show: a terminal obeys nothing in it.

Names of releases, commands of other processes, output of workers and answers of any socket may
contain escape sequences, or characters that change the direction of text. They are shown escaped,
such as \x1b or \u202e.
"""

import re

_UNUSUAL = re.compile(r"[^\x20-\x7e]")
LINES = "\n\t"
"""Also allowed in a text of several lines."""


def harmless(text: str, kept: str = LINES) -> str:
    """Escape all unprintable characters except those in `kept`."""
    return _UNUSUAL.sub(lambda found: _shown(found[0], kept), text)


def _shown(char: str, kept: str) -> str:
    if char.isprintable() or char in kept:
        return char
    return ascii(char)[1:-1]
