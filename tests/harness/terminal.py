"""A terminal for a program under test: what it shows, and the keys that are pressed."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from examples.load.waiting import HANG_SECONDS, wait_until
from tests.harness.daemon import INTERRUPTIBLE, environment

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
"""The terminal's other screen, and back to the one with what was there before."""
SHOW_CURSOR = "\x1b[?25h"
HOME = "\x1b[H"
CTRL_C, CTRL_Z = b"\x03", b"\x1a"
_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs a program until it ends or the `with` does."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        lines: int = 24,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, self._its = pty.openpty()
        self.resize(columns, lines)
        self.found = self.modes()
        self._said = b""
        self._hung_up = False
        self._woken, self._wake = os.pipe()
        variables = {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", **(variables or {})}
        inherited = {k: v for k, v in environment().items() if k not in {"COLUMNS", "NO_COLOR"}}
        self.process = subprocess.Popen(
            # Its controlling terminal, for Ctrl-C and Ctrl-Z, which in the background are ignored.
            ["setsid", "--ctty", *INTERRUPTIBLE, *command],
            env={**inherited, **variables},
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self._ours, self._woken], [], [])
            if self._woken in ready:
                return
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return
            self._said += data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(HANG_SECONDS)
        if not self._hung_up:
            self._close()
        if kind is not None:
            print(f"--- the terminal, the end:\n{self.said[-4000:]!r}")

    @property
    def said(self) -> str:
        """All that was ever written to it."""
        return self._said.decode(errors="replace")

    def frame(self) -> list[str]:
        """The lines of the last whole picture on a screen that is redrawn."""
        drawn = self.said.split(HOME)
        return [line.rstrip() for line in _CODE.sub("", drawn[-1]).replace("\r", "").split("\n")]

    def text(self) -> str:
        return "\n".join(self.frame())

    def wait(self, text: str, within: float = HANG_SECONDS) -> None:
        """Until that is to be read in the last picture."""
        wait_until(lambda: text in self.text(), within=within, what=f"{text!r} on the screen")

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def _close(self) -> None:
        os.close(self._its)
        os.close(self._wake)  # nothing is hung up while a read of it is under way
        self._reader.join(HANG_SECONDS)
        os.close(self._woken)
        os.close(self._ours)

    def hang_up(self) -> None:
        """Close the window: the program's end of the terminal is dead from now on."""
        self._hung_up = True
        self._close()

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def modes(self) -> list[object]:
        """Echo, line editing and the like."""
        return termios.tcgetattr(self._its)

    def end(self) -> int:
        return self.process.wait(HANG_SECONDS)

    def is_stopped(self) -> bool:
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] == "T"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
