"""What all applications here have in common: what they do before they serve."""

import os
import socket
import time

BAD = os.environ.get("BAD", "")
LATE = 0.5
NEVER = 3600.0


def say_ready() -> None:
    """On $NOTIFY_SOCKET, as gunicorn does of itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        ready.send(b"READY=1")


def begin() -> None:
    """While the application is imported; $SAYS_READY: "at once", or "when it serves"."""
    if os.environ.get("SAYS_READY") == "at once":
        say_ready()
    if BAD == "dies":
        time.sleep(LATE)
        raise RuntimeError("no such table: users")
    if BAD == "hangs":
        time.sleep(NEVER)


def serving() -> None:
    if os.environ.get("SAYS_READY") == "when it serves":
        say_ready()
