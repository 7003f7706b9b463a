"""systemd's protocols for a service, by python-systemd or without it.

Installing python-systemd from PyPI needs a C compiler and systemd's headers. It reads the passed
sockets from environment variables, so its absence costs nothing. Notifications (sd_notify(3)) and
journal entries (journal.py) are datagrams that we always send ourselves, because the library
blocks.
"""

import os
from collections.abc import Sequence

from wssupervisor.notify_queue import NotifyQueue

try:
    from systemd import daemon
except ImportError:
    daemon = None

FIRST_PASSED = 3
NAME_UNKNOWN = "unknown"

_queues: dict[str, NotifyQueue] = {}
"""By address. Only tests have more than one."""


# -- sd_notify ---------------------------------------------------------------------------------


def notify(state: str, descriptors: Sequence[int] = ()) -> bool:
    """Send assignments to systemd. False if there is no systemd or it cannot be reached.

    Raises no error, because a supervisor continues to serve without its manager. If systemd is not
    reading at the moment, it gets them later; the caller does not wait.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    queue = _queues.get(address) or _queues.setdefault(address, NotifyQueue(address))
    try:
        queue.send(state, descriptors)
    except (OSError, RuntimeError):  # RuntimeError: no thread can be started
        return False
    return True


# -- socket activation -------------------------------------------------------------------------


def passed_descriptors() -> dict[int, str]:
    """Return the passed descriptors with their names, and remove the variables.

    Empty if LISTEN_PID names another process.
    """
    if daemon is None:
        return passed_by_hand()
    return dict(daemon.listen_fds_with_names(unset_environment=True))


def passed_by_hand() -> dict[int, str]:
    """The same without python-systemd."""
    given = {
        name: os.environ.pop(f"LISTEN_{name}", "") for name in ("PID", "FDS", "FDNAMES", "PIDFDID")
    }
    if given["PID"] != str(os.getpid()) or not given["FDS"].isdecimal():
        return {}
    descriptors = range(FIRST_PASSED, FIRST_PASSED + int(given["FDS"]))
    names = given["FDNAMES"].split(":") if given["FDNAMES"] else []
    if len(names) != len(descriptors):
        names = [NAME_UNKNOWN] * len(descriptors)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return dict(zip(descriptors, names, strict=True))
