"""systemd's protocols for a service: by python-systemd, or by hand where that is missing.

python-systemd needs a C compiler and systemd's headers to be installed from PyPI. Notifications
(sd_notify(3)) are datagrams, and passed sockets are environment variables, so nothing is lost
without it. The journal's protocol is always spoken by hand (journal.py): its library blocks.
"""

import os
import socket
from collections.abc import Sequence

try:
    from systemd import daemon
except ImportError:
    daemon = None

FIRST_PASSED = 3
NAME_UNKNOWN = "unknown"
SEND_SECONDS = 5.0
"""systemd reads its notifications at once, unless it hangs; a service must not hang with it."""


# -- sd_notify ---------------------------------------------------------------------------------


def notify(state: str, descriptors: Sequence[int] = ()) -> bool:
    """Send assignments to systemd; False where there is no systemd or it cannot be reached.

    A supervisor whose manager has gone continues to serve: no error is raised.
    """
    try:
        if daemon is None:
            return notify_by_hand(state, descriptors)
        return bool(daemon.notify(state, fds=list(descriptors)))
    except OSError:
        return False


def notify_by_hand(state: str, descriptors: Sequence[int] = ()) -> bool:
    """The same without python-systemd. Raises OSError."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(SEND_SECONDS)
        sender.connect(address.replace("@", "\0", 1) if address[0] == "@" else address)
        socket.send_fds(sender, [state.encode()], list(descriptors))
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
