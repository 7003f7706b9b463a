"""Makes the pictures of the README: the screen of a terminal during a real drain, as SVG.

    python examples/pictures.py [DIRECTORY]

Deploys a chat server three times, one release of which is broken, while clients come and go. wssctl
runs in tmux, which returns the text on its screen. Takes about a minute and a half.
"""

import asyncio
import os
import random
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# When run as a file: make the `examples` package importable from any directory.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from examples.demo_stage import HOST, ROOT, Stage

PLACE = ROOT / "docs" / "pictures"
STAY_SECONDS = 45.0
"""The mean stay of a client. Half of the clients close within two thirds of it."""
CROWDS = (118, 64, 31)
DRAIN_SECONDS = 40.0
"""From the start of the first drain to its picture: an estimate needs half a minute."""
SETTLE = 3.0
THEME = TerminalTheme(
    (24, 26, 32),
    (204, 208, 214),
    [(24, 26, 32), (240, 100, 96), (120, 200, 120), (230, 190, 90),
     (110, 160, 240), (200, 130, 220), (90, 195, 205), (204, 208, 214)],
    [(110, 116, 126), (255, 130, 126), (150, 225, 150), (250, 215, 120),
     (140, 185, 255), (225, 160, 245), (125, 220, 230), (240, 242, 245)],
)  # fmt: skip
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", \
monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font: 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""The frame of rich, without the fonts that a browser would have to download."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A tmux server of our own, with one size."""

    socket: str
    columns: int
    lines: int

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self.socket, "-f", "/dev/null", *arguments]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    def run(self, command: str) -> None:
        """Run the command as if typed at a prompt. The prompt does not return."""
        shell = f"printf '\\033[1;32m$\\033[0m %s\\n' {shlex.quote(command)}; {command}; sleep 600"
        size = ("-x", str(self.columns), "-y", str(self.lines))
        self.tmux("new-session", "-d", *size, "sh", "-c", shell)
        self.tmux("set-option", "status", "off")
        self.tmux("resize-window", "-t", "0", *size)

    def screen(self) -> str:
        return self.tmux("capture-pane", "-e", "-p")

    def end(self) -> None:
        self.tmux("kill-server")


def draw(captured: str, path: Path, columns: int, title: str) -> None:
    """Draw without trailing empty lines, except one: rich clips the descenders of the last."""
    text = Text.from_ansi(captured.rstrip())
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=columns, file=nowhere, force_terminal=True)
        console.print(text, no_wrap=True, overflow="crop")
        console.print()
    drawn = console.export_svg(
        title=title, theme=THEME, code_format=FRAME, unique_id=path.stem, font_aspect_ratio=0.61
    )
    path.write_text("\n".join(line.rstrip() for line in drawn.splitlines()) + "\n", "utf-8")
    print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


class Clients:
    """Clients that connect, stay for a random time, and disconnect."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._chance = random.Random(7)  # noqa: S311 - the same in each run
        self._visits: set[asyncio.Task[None]] = set()

    async def arrive(self, count: int) -> None:
        opened = [asyncio.Event() for _ in range(count)]
        for one in opened:
            stay = self._chance.expovariate(1 / STAY_SECONDS)
            self._visits.add(asyncio.create_task(self._visit(one, stay)))
        for one in opened:
            await one.wait()

    async def _visit(self, opened: asyncio.Event, stay: float) -> None:
        try:
            async with connect(f"ws://{HOST}:{self._port}/room{stay:.0f}") as connection:
                opened.set()
                async with asyncio.timeout(stay):
                    async for _ in connection:
                        pass
        except (TimeoutError, OSError, WebSocketException):
            opened.set()

    async def disconnect(self) -> None:
        for one in self._visits:
            one.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)


class Studio:
    def __init__(self, stage: Stage, place: Path) -> None:
        self._stage = stage
        self._place = place
        self._sockets = tempfile.TemporaryDirectory(prefix="wss-tmux-")
        self._number = 0

    async def picture(
        self, name: str, columns: int, lines: int, command: str, *, wait: float = SETTLE
    ) -> None:
        """Draw the screen that the command shows after `wait` seconds."""
        self._number += 1
        terminal = Terminal(f"{self._sockets.name}/{self._number}", columns, lines)
        terminal.run(command)
        try:
            await asyncio.sleep(wait)
            captured = terminal.screen()
        finally:
            terminal.end()
        draw(captured, self._place / f"{name}.svg", columns, command)


async def take(stage: Stage, studio: Studio) -> None:
    stage.install(41)
    stage.switch(41)
    stage.start(lambda: None)
    os.environ["PATH"] = f"{stage.directory}:{os.environ['PATH']}"
    clients = Clients(stage.port)
    await clients.arrive(CROWDS[0])
    stage.install(42)
    stage.switch(42)
    await studio.picture("reload", 80, 12, "wssctl reload", wait=6.0)
    await clients.arrive(CROWDS[1])
    await asyncio.sleep(DRAIN_SECONDS / 2)
    stage.install(43, broken=True)
    stage.switch(43)
    await studio.picture("reload-failed", 80, 18, "wssctl reload", wait=6.0)
    await asyncio.sleep(DRAIN_SECONDS / 2)
    stage.install(44)
    stage.switch(44)
    await asyncio.to_thread(stage.ask, "reload")
    await clients.arrive(CROWDS[2])
    await asyncio.gather(
        studio.picture("status", 80, 24, "wssctl status --watch"),
        studio.picture("status-wide", 120, 34, "wssctl status --watch"),
    )
    await studio.picture("history", 80, 16, "wssctl history")
    await clients.disconnect()


def main() -> int:
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else PLACE
    place.mkdir(parents=True, exist_ok=True)
    stage = Stage()
    try:
        asyncio.run(take(stage, Studio(stage, place)))
    finally:
        stage.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
