"""`wssctl status --watch`: the status, updated every second until the operator quits.

With rich it draws on the terminal's alternate screen and restores the terminal afterwards. While no
daemon answers, it shows since when, and keeps asking.
"""

import argparse
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import TextIO, cast

from wssupervisor.commands.screen import Size, screen
from wssupervisor.commands.streams import Canvas
from wssupervisor.commands.terminal import Line, Span, Style, line, show, terminal_can_draw
from wssupervisor.commands.terminal_size import recent, size_of_output
from wssupervisor.commands.times import now
from wssupervisor.control.client import Client, Gone, Silence
from wssupervisor.control.documents import Event, Status
from wssupervisor.control.verbs import STATUS, Empty
from wssupervisor.durations import format_duration
from wssupervisor.errors import NotRunning

EVERY = 1.0
LOOK_EVERY = 0.2
"""Interval of looking at the keys and at the size of the terminal."""
PATIENCE = 3.0
"""Seconds without a message after which a daemon counts as silent; it sends one every 1.5 s."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last answer; `at`: its monotonic instant; `silent`: why a later one is missing.

    `chosen`: the options of wssctl that name the instance.
    """

    document: Status
    events: Sequence[Event]
    at: float
    chosen: str = ""
    silent: str | None = None

    def lines(self, size: Size) -> list[Line]:
        if self.silent is None:
            return screen(self.document, self.events, size, self.chosen)
        since = format_duration(max(1.0, time.monotonic() - self.at))
        less = replace(size, lines=None if size.lines is None else size.lines - 1)
        first = line(
            Span(f"no answer since {since}: ", Style.BAD), Span(self.silent, Style.WARNING)
        )
        shown = screen(self.document, self.events, less, self.chosen)
        return [first, *(_faint(one) for one in shown)]


def _faint(one: Line) -> Line:
    return tuple(Span(span.text, Style.FAINT) for span in one)


def run(given: argparse.Namespace, client: Client) -> int:
    client.patience = PATIENCE
    first = _ask(client)
    if given.json:
        _repeat(client, first, lambda seen: print(json.dumps(_document(seen)), flush=True))
    elif not (sys.stdout.isatty() and terminal_can_draw()):
        _repeat(client, first, _print)
    else:
        try:
            import rich  # noqa: F401, PLC0415
        except ModuleNotFoundError:
            text = "wssctl: install rich to watch on the whole screen (Debian: python3-rich)"
            print(text, file=sys.stderr)
            _repeat(client, first, _print)
        else:
            _draw(client, first)
    return 0


def _ask(client: Client) -> Seen:
    """Raises what `Client.ask` raises."""
    return Seen(client.ask(STATUS, Empty()), recent(client), time.monotonic(), client.chosen)


def _ask_again(client: Client, before: Seen) -> Seen:
    """During an upgrade, a restart or after a crash: the last answer, with the reason."""
    try:
        return _ask(client)
    except (Gone, NotRunning, Silence) as error:
        return replace(before, silent=str(error))


# -- without a screen --------------------------------------------------------------------------


def _repeat(client: Client, seen: Seen, report: Callable[[Seen], None]) -> None:
    while True:
        report(seen)
        time.sleep(EVERY)
        seen = _ask_again(client, seen)


def _document(seen: Seen) -> Status | dict[str, str]:
    return seen.document if seen.silent is None else {"no_answer": seen.silent}


def _print(seen: Seen) -> None:
    size = replace(size_of_output(), lines=None)
    show([line(Span(now(), Style.FAINT)), *seen.lines(size), ()])


# -- on a screen -------------------------------------------------------------------------------


def _draw(client: Client, seen: Seen) -> None:
    from rich.console import Console  # noqa: PLC0415 - takes as long as all of wssctl
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    styles = {
        Style.PLAIN: "",
        Style.TITLE: "bold",
        Style.FAINT: "dim",
        Style.GOOD: "green",
        Style.BUSY: "cyan",
        Style.WARNING: "yellow",
        Style.BAD: "bold red",
    }

    def text(size: Size) -> Text:
        found = Text(no_wrap=True, overflow="crop")
        for one in seen.lines(size):
            for span in one:
                found.append(span.text, styles[span.style])
            found.append("\n")
        found.right_crop()
        return found

    console = Console(file=cast(TextIO, Canvas(sys.stdout)), highlight=False)
    quits = False
    while not quits:
        try:
            with (
                _signals_quit(),
                _keys_unbuffered(),
                Live(
                    console=console,
                    screen=True,
                    auto_refresh=False,
                    redirect_stdout=False,
                    redirect_stderr=False,
                ) as live,
            ):
                while not quits:
                    size = size_of_output()
                    live.update(text(size), refresh=True)
                    quits = _wait(EVERY, size)
                    if not quits and size_of_output() == size:
                        seen = _ask_again(client, seen)
        except _Suspended:
            os.kill(os.getpid(), signal.SIGSTOP)  # with the terminal restored; continues on SIGCONT


def _wait(seconds: float, size: Size) -> bool:
    """Wait, or until the size has changed; True if the operator quits."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and size_of_output() == size:
        if not sys.stdin.isatty():
            time.sleep(min(left, LOOK_EVERY))
        elif select.select([sys.stdin], [], [], min(left, LOOK_EVERY))[0]:
            keys = os.read(sys.stdin.fileno(), 100)
            if not keys or keys in {b"q", b"Q", b"\x1b"}:
                return True
    return False


@contextmanager
def _keys_unbuffered() -> Iterator[None]:
    """Keys arrive at once and without echo; the terminal is restored afterwards."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)


class _Suspended(BaseException):
    """Ctrl-Z."""


@contextmanager
def _signals_quit() -> Iterator[None]:
    """As Ctrl-C does, so that the terminal is restored."""

    def end(number: int, _: FrameType | None) -> None:
        if number == signal.SIGTSTP:
            raise _Suspended
        raise SystemExit(128 + number)

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
