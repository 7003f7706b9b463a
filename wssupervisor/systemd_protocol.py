"""systemd's protocols for a service: by python-systemd, or by hand where that is missing.

python-systemd needs a C compiler and systemd's headers to be installed from PyPI. It reads which
sockets were passed; they are environment variables, so nothing is lost without it. Notifications
(sd_notify(3)) and the journal (journal.py) are datagrams, always sent by hand: the library blocks.
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
"""By address: one, but for tests."""


# -- sd_notify ---------------------------------------------------------------------------------


def notify(state: str, descriptors: Sequence[int] = ()) -> bool:
    """Send assignments to systemd; False where there is no systemd or it cannot be reached.

    A supervisor whose manager has gone continues to serve: no error is raised. One that does not
    read at the moment gets them later: nothing waits for it.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    queue = _queues.get(address) or _queues.setdefault(address, NotifyQueue(address))
    try:
        queue.send(state, descriptors)
    except (OSError, RuntimeError):  # the second: no thread can be started
        return False
    return True


# -- socket activation -------------------------------------------------------------------------


def passed_descriptors() -> dict[int, str]:
    """Descriptor to name of what was passed to this process; the variables are consumed.

    Empty when LISTEN_PID names another process.
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
