"""One line on a terminal that shows what a verb waits for, replaced by each next one."""

import shutil
import sys

from wssupervisor.commands.streams import draw
from wssupervisor.commands.terminal import ERASE_LINE, Line, clipped, colored, has_colors, plain


class ProgressLine:
    """On standard error. Draws nothing unless that is a terminal and `wanted`."""

    def __init__(self, *, wanted: bool) -> None:
        self.live = wanted and sys.stderr.isatty()

    def show(self, line: Line) -> None:
        """Replace the line; what is wider than the terminal is cut."""
        if self.live:
            form = colored if has_colors(sys.stderr) else plain
            width = shutil.get_terminal_size().columns - 1
            self._draw(ERASE_LINE + form(clipped(line, width, "...")))

    def clear(self) -> None:
        if self.live:
            self._draw(ERASE_LINE)

    def _draw(self, text: str) -> None:
        draw(text, sys.stderr)
        sys.stderr.flush()
