"""Threads that get no signals: these are for the loop's, which holds them back at times."""

import signal
import threading
from collections.abc import Callable


def start(target: Callable[[], None], name: str) -> None:
    """Start a thread that ends with the program."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        threading.Thread(target=target, name=name, daemon=True).start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
