"""The output of the demo: a line for each event, a live line on a terminal, a table at the end."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence

WIDTH = 78
CLEAR = "\r\x1b[K"
BOLD, DIM, RED, GREEN = "1", "2", "31", "32"


class Screen:
    """Plain text when standard output is not a terminal, or NO_COLOR is set."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and "NO_COLOR" not in os.environ
        self._begun = time.monotonic()
        self._live = False

    def paint(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text

    def line(self, text: str = "") -> None:
        if self._live:
            sys.stdout.write(CLEAR)
            self._live = False
        print(text, flush=True)

    def title(self, text: str) -> None:
        self.line(self.paint(text, BOLD))

    def event(self, text: str, style: str = "") -> None:
        """Print an event, with the seconds since the demo began."""
        seconds = f"{time.monotonic() - self._begun:5.1f} s  "
        self.line(self.paint(seconds, DIM) + (self.paint(text, style) if style else text))

    def detail(self, text: str) -> None:
        """Print more about the event above."""
        margin = " " * 9
        self.line(
            textwrap.fill(
                text,
                WIDTH,
                initial_indent=margin,
                subsequent_indent=f"{margin}    ",
                drop_whitespace=False,
            )
        )

    def live(self, text: str) -> None:
        """Show a line that the next output replaces. Only on a terminal."""
        if self._terminal:
            room = min(WIDTH, shutil.get_terminal_size().columns - 1)
            sys.stdout.write(CLEAR + self.paint((" " * 9 + text)[:room], DIM))
            sys.stdout.flush()
            self._live = True

    def table(self, rows: Sequence[Sequence[str]], bad: Sequence[bool]) -> None:
        """Print a table; the first row is its head. `bad`: whether each other row is red."""
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for number, row in enumerate(rows):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            text = "  " + "   ".join(cells)
            if number == 0:
                self.line(self.paint(text, BOLD))
                self.line("  " + "-" * (len(text) - 2))
            else:
                self.line(self.paint(text, RED if bad[number - 1] else GREEN))
