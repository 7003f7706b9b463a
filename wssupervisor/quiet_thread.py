"""Threads that get no signals: signals are for the thread of the loop, which may block them."""

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
