"""Lines of text whose parts have a meaning, and how a meaning looks on a terminal."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TextIO

from wssupervisor.commands.streams import draw
from wssupervisor.harmless import harmless

ERASE_LINE = "\r\x1b[K"


class Style(Enum):
    """What a part of a line means; the value is its escape sequence for a terminal (ECMA-48)."""

    PLAIN = ""
    TITLE = "1"
    FAINT = "2"
    GOOD = "32"
    BUSY = "36"
    WARNING = "33"
    BAD = "1;31"


@dataclass(frozen=True, slots=True)
class Span:
    """`text` is one line without effect on a terminal: other characters are escaped."""

    text: str
    style: Style = Style.PLAIN

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", harmless(self.text, kept=""))


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    return tuple(Span(one) if isinstance(one, str) else one for one in parts)


def plain(one: Line) -> str:
    return "".join(span.text for span in one).rstrip()


def length(one: Line) -> int:
    return sum(len(span.text) for span in one)


def clipped(one: Line, width: int, more: str) -> Line:
    """At most `width` columns; `more` marks the end of a line that was longer."""
    if length(one) <= width:
        return one
    room = max(0, width - len(more))
    found: list[Span] = []
    for span in one:
        found.append(Span(span.text[:room], span.style))
        room -= len(found[-1].text)
    return (*found, Span(more, Style.FAINT))


def colored(one: Line) -> str:
    """Return the line with escape sequences for a terminal."""
    return "".join(
        f"\x1b[{span.style.value}m{span.text}\x1b[0m"
        if span.style.value and span.text
        else span.text
        for span in one
    ).rstrip()


def has_colors(stream: TextIO) -> bool:
    """Whether the stream is a terminal and NO_COLOR is not set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and terminal_can_draw()


def terminal_can_draw() -> bool:
    return os.environ.get("TERM", "dumb") not in {"", "dumb"}


def is_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def show(lines: Iterable[Line], stream: TextIO | None = None) -> None:
    """Print them, in colours on a terminal."""
    out = stream or sys.stdout
    form = colored if has_colors(out) else plain
    draw("\n".join(form(one) for one in lines) + "\n", out)
    out.flush()
