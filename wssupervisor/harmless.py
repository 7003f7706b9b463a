r"""Text from elsewhere as it may be shown: a terminal obeys nothing in it.

Names of releases, commands of other processes, words of a worker, answers of whatever is behind a
socket: all may hold escape sequences, or characters that turn the order of what follows. They are
shown as what they are, such as \x1b or \u202e.
"""

import re

_UNUSUAL = re.compile(r"[^\x20-\x7e]")
LINES = "\n\t"
"""What a text of several lines has, too."""


def harmless(text: str, kept: str = LINES) -> str:
    """All that cannot be printed is escaped, but for the characters in `kept`."""
    return _UNUSUAL.sub(lambda found: _shown(found[0], kept), text)


def _shown(char: str, kept: str) -> str:
    if char.isprintable() or char in kept:
        return char
    return ascii(char)[1:-1]
