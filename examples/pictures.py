"""Draw the pictures of the documentation: what a terminal shows during a real drain, as SVG.

    python examples/pictures.py [DIRECTORY]

A chat server is deployed three times, once badly, while clients connect and leave. wssctl runs in
tmux, which returns the content of its screen. Takes about a minute and a half.
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

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from examples.demo_stage import HOST, ROOT, Stage
from examples.terminal_picture import draw

PLACE = ROOT / "docs" / "pictures"
STAY_SECONDS = 45.0
"""The mean stay of a client. Half of the clients close within two thirds of it."""
CROWDS = (118, 64, 31)
DRAIN_SECONDS = 40.0
"""Age of the first drain in the picture: an estimate needs half a minute."""
SETTLE = 3.0


@dataclass(frozen=True, slots=True)
class Terminal:
    """A tmux server for one picture."""

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
        """Draw what the command shows after `wait` seconds."""
        self._number += 1
        terminal = Terminal(f"{self._sockets.name}/{self._number}", columns, lines)
        terminal.run(command)
        try:
            await asyncio.sleep(wait)
            captured = terminal.screen()
        finally:
            terminal.end()
        path = self._place / f"{name}.svg"
        path.write_text(draw(captured, columns, command), "utf-8")
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


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
