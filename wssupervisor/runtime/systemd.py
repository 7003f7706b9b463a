"""What systemd passes to us and what we report to it."""

import contextlib
import os
import select
import socket
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.harmless import harmless
from wssupervisor.systemd_protocol import notify, passed_descriptors

STATUS_CHARS = 240
"""A longer STATUS= line is cut between two words: `systemctl status` shows one line."""


EXTEND_SECONDS = 15
"""Seconds by which each message extends a timeout: far more than the interval of messages."""


FIRST_PASSED = 3
"""SD_LISTEN_FDS_START."""


def is_service() -> bool:
    """Whether systemd started this process as the main process of a service."""
    return "NOTIFY_SOCKET" in os.environ and "INVOCATION_ID" in os.environ


def stop_command(instance: str) -> str | None:
    """The command that stops this service, with its unit's name; None outside of a service."""
    if not is_service():
        return None
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip()
    except OSError:
        group = ""
    unit = group.rpartition("/")[2]
    if not unit.endswith(".service"):
        unit = f"wssupervisor@{instance}.service"
    units = f"{unit.removesuffix('.service')}.socket {unit}" if "@" in unit else unit
    return f"systemctl{' --user' if '/user@' in group else ''} stop {units}"


@dataclass(frozen=True, slots=True)
class Passed:
    """One descriptor of socket activation."""

    name: str
    descriptor: int


def passed_sockets() -> list[Passed]:
    """The sockets that systemd (or a test that plays it) passed; the variables are consumed.

    Empty if LISTEN_PID names another process.
    """
    found = passed_descriptors()
    return [Passed(name, descriptor) for descriptor, name in sorted(found.items())]


def clients_wait() -> bool:
    """Whether a client waits in a listening socket that systemd passed."""
    poll = select.poll()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        number = int(name)
        with contextlib.suppress(OSError):  # not a socket, or the descriptor that listed them
            own = socket.socket(fileno=os.dup(number)) if number >= FIRST_PASSED else None
            if own is not None:
                with own:
                    if own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


class ServiceNotifier:
    """Reports our state to systemd; every call is harmless without systemd."""

    def __init__(self) -> None:
        self._said: str | None = None
        self.is_service = is_service()
        """Whether all processes in our control group are ours."""
        interval = os.environ.get("WATCHDOG_USEC", "")
        own = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(interval) / 2e6 if own and interval.isdecimal() else None
        """Seconds between two WATCHDOG=1 messages; None without a watchdog."""

    def ready(self) -> None:
        notify("READY=1")

    def stopping(self) -> None:
        notify("STOPPING=1")

    def extend(self) -> None:
        """Extend systemd's timeout of a start or stop that takes longer."""
        notify(f"EXTEND_TIMEOUT_USEC={EXTEND_SECONDS * 1_000_000}")

    def alive(self) -> None:
        notify("WATCHDOG=1")

    def progress(self) -> None:
        """A stop continues outside of the loop that reports it otherwise."""
        self.extend()
        self.alive()

    def status(self, text: str) -> None:
        """The line that `systemctl status` shows; sent only when it changes."""
        if text != self._said:
            self._said = text
            notify(f"STATUS={shortened(text, STATUS_CHARS)}")


def shortened(text: str, most: int) -> str:
    """One line of at most `most` characters, cut between two words.

    Free of control characters: systemctl prints it unchanged.
    """
    line = harmless(" ".join(text.split()), kept="")
    if len(line) <= most:
        return line
    kept = line[:most].rpartition(" ")[0].rstrip(" ,;:")
    return f"{kept or line[: most - 1]}…"
