"""Standard streams that may be closed, full or unread. The program must not fail or hang."""

import contextlib
import os
import sys
import threading
from collections.abc import Sequence

from wssupervisor.harmless import harmless

LAST_WORD_SECONDS = 1.0
STREAMS = ("stdin", "stdout", "stderr")


def ensure_open() -> None:
    """Open /dev/null in place of each closed standard stream (`>&-`).

    Otherwise the next descriptor that is opened, such as a socket, would get its number, and would
    receive the output. Call it before anything else is opened.
    """
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def last_words(lines: Sequence[str]) -> None:
    """Write to standard error, and wait only briefly, because it may be unread."""
    data = "".join(f"{harmless(line)}\n" for line in lines).encode(errors="backslashreplace")
    thread = threading.Thread(target=_write, args=(data,), daemon=True)
    thread.start()
    thread.join(LAST_WORD_SECONDS)


def _write(data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(2, view) :]
