"""What systemd hands us and wants to hear: the only user of python-systemd besides logging."""

import os
from dataclasses import dataclass

from systemd import daemon

STATUS_CHARS = 200
"""A STATUS= line longer than this is cut: `systemctl status` shows one line."""


EXTEND_SECONDS = 15
"""Much longer than between two of our words, and not too long where we hang."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One descriptor of socket activation."""

    name: str
    descriptor: int


def passed_sockets() -> list[Passed]:
    """The sockets that systemd (or a test that plays it) handed over; the variables are consumed.

    Empty when LISTEN_PID names another process: then they are for somebody else.
    """
    found = daemon.listen_fds_with_names(unset_environment=True)
    return [Passed(name, descriptor) for descriptor, name in sorted(found.items())]


class Herald:
    """Tells systemd how it goes; every call is harmless where there is no systemd."""

    def __init__(self) -> None:
        self._said: str | None = None
        interval = os.environ.get("WATCHDOG_USEC", "")
        own = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(interval) / 2e6 if own and interval.isdecimal() else None
        """Seconds between two signs of life, or None where no watchdog runs."""

    def ready(self) -> None:
        daemon.notify("READY=1")

    def stopping(self) -> None:
        daemon.notify("STOPPING=1")

    def extend(self) -> None:
        """A start or a stop goes on, as it may: do not end it yet."""
        daemon.notify(f"EXTEND_TIMEOUT_USEC={EXTEND_SECONDS * 1_000_000}")

    def alive(self) -> None:
        daemon.notify("WATCHDOG=1")

    def status(self, text: str) -> None:
        """The one line of `systemctl status`; said again only when it changes."""
        if text != self._said:
            self._said = text
            daemon.notify(f"STATUS={text[:STATUS_CHARS]}")
