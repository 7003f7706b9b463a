"""Standard streams that may be closed, full or unread: a program must not fail or hang for them."""

import contextlib
import os
import sys
import threading
from collections.abc import Sequence

from wssupervisor.harmless import harmless

LAST_WORD_SECONDS = 1.0
STREAMS = ("stdin", "stdout", "stderr")


def ensure_open() -> None:
    """Open /dev/null in place of each standard stream that we were started without (`>&-`).

    Otherwise the next descriptor that is opened, a socket perhaps, would get its number and be
    written to. Call it before anything else is opened.
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
    """To standard error, which nobody may read: wait for it a moment at most."""
    data = "".join(f"{harmless(line)}\n" for line in lines).encode(errors="backslashreplace")
    thread = threading.Thread(target=_write, args=(data,), daemon=True)
    thread.start()
    thread.join(LAST_WORD_SECONDS)


def _write(data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(2, view) :]
