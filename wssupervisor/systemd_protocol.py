"""systemd's three protocols for a service: by python-systemd, or by hand where that is missing.

python-systemd needs a C compiler and systemd's headers to be installed from PyPI. Notifications
(sd_notify(3)) and journal entries are datagrams, and passed sockets are environment variables, so
nothing is lost without it but the CODE_FILE, CODE_LINE and CODE_FUNC fields of journal entries.
"""

import contextlib
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence

try:
    from systemd import daemon, journal
except ImportError:
    daemon = journal = None

JOURNAL = "/run/systemd/journal/socket"
FIRST_PASSED = 3
NAME_UNKNOWN = "unknown"
SEND_SECONDS = 5.0
"""systemd reads its notifications at once, unless it hangs; a service must not hang with it."""

_FIELD = re.compile(r"[A-Z0-9][A-Z0-9_]{0,63}")
_TOO_LARGE = frozenset({errno.EMSGSIZE, errno.ENOBUFS})
_SIZE = struct.Struct("<Q")


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


# -- the journal -------------------------------------------------------------------------------


def journal_send(message: str, **fields: str) -> None:
    """Write one entry to the journal. Raises OSError."""
    if journal is None:
        journal_by_hand(message, fields)
    else:
        journal.send(message, **fields)


def journal_by_hand(message: str, fields: Mapping[str, str], address: str = JOURNAL) -> None:
    """The same without python-systemd; an entry too large for a datagram goes in a memory file.

    Raises OSError.
    """
    entry = b"".join(_encoded(name, text) for name, text in {"MESSAGE": message, **fields}.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        try:
            sender.send(entry)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            with _sealed(entry) as descriptor:
                socket.send_fds(sender, [b""], [descriptor])


def _encoded(name: str, text: str) -> bytes:
    """One field of the native protocol: on one line, or with its size where it has several."""
    if not _FIELD.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a journal field")
    value = text.encode(errors="backslashreplace")
    if b"\n" not in value:
        return b"%s=%s\n" % (name.encode(), value)
    return b"%s\n%s%s\n" % (name.encode(), _SIZE.pack(len(value)), value)


@contextlib.contextmanager
def _sealed(entry: bytes) -> Iterator[int]:
    """A memory file that cannot change any more; journald takes no other."""
    descriptor = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(entry)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        yield descriptor
    finally:
        os.close(descriptor)
