"""A terminal's screen as SVG that looks the same in every renderer.

Each word is a <text> of its own with its column: renderers differ in what they do with white space
(some collapse it, no-break spaces included), with style sheets and with widths of fonts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from xml.sax.saxutils import escape

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

THEME = TerminalTheme(
    (24, 26, 32),
    (204, 208, 214),
    [(24, 26, 32), (240, 100, 96), (120, 200, 120), (230, 190, 90),
     (110, 160, 240), (200, 130, 220), (90, 195, 205), (204, 208, 214)],
    [(110, 116, 126), (255, 130, 126), (150, 225, 150), (250, 215, 120),
     (140, 185, 255), (225, 160, 245), (125, 220, 230), (240, 242, 245)],
)  # fmt: skip
FONT = 20
CELL = 12.04
"""Width of a character: of DejaVu Sans Mono and Menlo at this size."""
LINE = 24.4
BASE = 19.0
"""From the top of a line to the foot of its letters."""
MARGIN = 12
TITLE = 44
DIM = 0.6
BUTTONS = ("#ff5f57", "#febc2e", "#28c840")
FAMILY = "Menlo, Consolas, DejaVu Sans Mono, Liberation Mono, monospace"


@dataclass(frozen=True, slots=True)
class Word:
    """Characters of one style, all white space or none; `column` and `line` from 0."""

    text: str
    line: int
    column: int
    style: Style

    @property
    def cells(self) -> int:
        return cell_len(self.text)


def draw(captured: str, columns: int, title: str) -> str:
    """The picture of what a terminal shows; `captured` has ANSI escapes for colours."""
    lines = captured.rstrip().splitlines()
    found = [word for number, line in enumerate(lines) for word in words(line, number, columns)]
    width = columns * CELL + 2 * MARGIN
    height = len(lines) * LINE + TITLE + MARGIN
    size = f"{width:.1f} {height:.1f}"
    behind = f'rx="8" fill="{_hex(THEME.background_color)}"'
    parts = [
        f'<svg class="terminal" viewBox="0 0 {size}" xmlns="http://www.w3.org/2000/svg">',
        f'<rect width="{width:.1f}" height="{height:.1f}" {behind}/>',
        *(
            f'<circle cx="{MARGIN + 12 + 22 * number}" cy="{TITLE / 2:.0f}" r="7" fill="{colour}"/>'
            for number, colour in enumerate(BUTTONS)
        ),
        f'<g font-family="{FAMILY}" font-size="{FONT}" fill="{_hex(THEME.foreground_color)}">',
        *_title(title, width),
        *(part for word in found for part in _drawn(word)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def words(line: str, number: int, columns: int) -> Iterator[Word]:
    """Of one line, which is cut off where the terminal ends."""
    console = Console(width=columns, color_system="truecolor", force_terminal=True)
    text = Text.from_ansi(line)
    text.truncate(columns)
    column = 0
    for segment in text.render(console):
        for _, characters in groupby(segment.text, str.isspace):
            word = "".join(characters)
            yield Word(word, number, column, segment.style or Style())
            column += cell_len(word)


def _title(title: str, width: float) -> Iterator[str]:
    """In the middle, word by word as well."""
    column = (width - MARGIN * 2) / CELL / 2 - cell_len(title) / 2
    for word in title.split():
        yield _text(word, column, TITLE / 2 + 6, cell_len(word), "")
        column += cell_len(word) + 1


def _drawn(word: Word) -> Iterator[str]:
    top = TITLE + word.line * LINE
    front, back = _colours(word.style)
    if back is not None:
        x, span = MARGIN + word.column * CELL, word.cells * CELL
        yield (
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{span:.1f}" height="{LINE}" fill="{back}"/>'
        )
    if word.text.isspace():
        return
    look = "" if front is None else f' fill="{front}"'
    look += ' font-weight="bold"' if word.style.bold else ""
    look += f' opacity="{DIM}"' if word.style.dim else ""
    yield _text(word.text, word.column, top + BASE, word.cells, look)


def _text(word: str, column: float, y: float, cells: int, look: str) -> str:
    x, span = MARGIN + column * CELL, cells * CELL
    return f'<text x="{x:.1f}" y="{y:.1f}" textLength="{span:.1f}"{look}>{escape(word)}</text>'


def _colours(style: Style) -> tuple[str | None, str | None]:
    """Of letters and of what is behind them; None: the terminal's own."""
    front, back = _colour(style.color, foreground=True), _colour(style.bgcolor, foreground=False)
    if style.reverse:
        return back or _hex(THEME.background_color), front or _hex(THEME.foreground_color)
    return front, back


def _colour(colour: Color | None, *, foreground: bool) -> str | None:
    if colour is None or colour.is_default:
        return None
    return _hex(colour.get_truecolor(THEME, foreground=foreground))


def _hex(colour: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{one:02x}" for one in colour)
