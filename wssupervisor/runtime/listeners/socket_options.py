"""Options that a worker can leave on a listening socket, to the next worker and its clients.

Options belong to the socket, not to a process
(docs/internals/platform.md#options-belong-to-the-socket), and connections inherit most of them. So
the options that the socket had when it came to us are remembered, and set again before each start.
Numbers are those of linux/socket.h, tcp.h, in.h, in6.h.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

SO_GET_FILTER = 26
SO_DETACH_FILTER = 27
SO_LOCK_FILTER = 44
TCP_MAXSEG_DEFAULT = 536
"""What getsockopt() returns if TCP_MAXSEG of a listening socket is unset. Setting 0 unsets it."""
NO_CLAMP = 0x7FFFFFFF
"""TCP_WINDOW_CLAMP of a listening socket cannot be removed, only made too large to matter."""
SO_BUF_LOCK = 72
TEXTS = ("TCP_CONGESTION", "SO_BINDTODEVICE")
_INT = struct.Struct("=i")
VALUE_BYTES = 128

Options = Mapping[str, str]
"""The values to restore, in hexadecimal, by the option's name."""


@dataclass(frozen=True, slots=True)
class Option:
    """`reset_to`: the value to restore; None: the value that the socket had at first."""

    name: str
    level: int
    number: int
    reset_to: bytes | None = None
    families: tuple[int, ...] = (socket.AF_INET, socket.AF_INET6)


def _ints(level: int, **numbers: int) -> tuple[Option, ...]:
    return tuple(Option(name, level, number) for name, number in numbers.items())


OFF = _INT.pack(0)
ANY = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
TABLE = (
    # Options that make accept() fail, drop clients, or close connections without their data.
    Option("SO_RCVTIMEO", socket.SOL_SOCKET, socket.SO_RCVTIMEO, bytes(16), ANY),
    Option("SO_SNDTIMEO", socket.SOL_SOCKET, socket.SO_SNDTIMEO, bytes(16), ANY),
    Option("SO_LINGER", socket.SOL_SOCKET, socket.SO_LINGER, bytes(8), ANY),
    # TCP_DEFER_ACCEPT hides waiting clients from the queue until they send.
    Option("TCP_DEFER_ACCEPT", socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, OFF),
    *_ints(
        socket.SOL_SOCKET,
        SO_RCVLOWAT=18,
        SO_KEEPALIVE=9,
        SO_OOBINLINE=10,
        SO_DONTROUTE=5,
        SO_PRIORITY=12,
        SO_MARK=36,
        SO_BINDTODEVICE=25,
        SO_TIMESTAMP=29,
        SO_TIMESTAMPNS=35,
        SO_INCOMING_CPU=49,
        SO_MAX_PACING_RATE=47,
        SO_BUSY_POLL=46,
        SO_PREFER_BUSY_POLL=69,
        SO_ZEROCOPY=60,
        SO_TXREHASH=74,
        SO_REUSEADDR=2,
        SO_REUSEPORT=15,
        SO_RCVBUF=8,
        SO_SNDBUF=7,
        # After the sizes, which set it: a fixed size switches the kernel's own tuning off.
        SO_BUF_LOCK=SO_BUF_LOCK,
    ),
    *_ints(
        socket.IPPROTO_TCP,
        TCP_NODELAY=1,
        TCP_MAXSEG=2,
        TCP_CORK=3,
        TCP_KEEPIDLE=4,
        TCP_KEEPINTVL=5,
        TCP_KEEPCNT=6,
        TCP_SYNCNT=7,
        TCP_LINGER2=8,
        TCP_WINDOW_CLAMP=10,
        TCP_CONGESTION=13,
        TCP_THIN_LINEAR_TIMEOUTS=16,
        TCP_USER_TIMEOUT=18,
        TCP_FASTOPEN=23,
        TCP_NOTSENT_LOWAT=25,
        TCP_SAVE_SYN=27,
        TCP_FASTOPEN_NO_COOKIE=34,
        TCP_INQ=36,
        TCP_TX_DELAY=37,
        TCP_RTO_MAX_MS=44,
    ),
    *_ints(
        socket.IPPROTO_IP,
        IP_TOS=1,
        IP_TTL=2,
        IP_MTU_DISCOVER=10,
        IP_RECVERR=11,
        IP_FREEBIND=15,
        IP_TRANSPARENT=19,
        IP_MINTTL=21,
        IP_UNICAST_IF=50,
    ),
    *(
        Option(one.name, one.level, one.number, families=(socket.AF_INET6,))
        for one in _ints(
            socket.IPPROTO_IPV6,
            IPV6_UNICAST_HOPS=16,
            IPV6_MTU_DISCOVER=23,
            IPV6_RECVERR=25,
            IPV6_DONTFRAG=62,
            IPV6_TCLASS=67,
            IPV6_AUTOFLOWLABEL=70,
            IPV6_MINHOPCOUNT=73,
        )
    ),
)
"""The options that are restored. Left out: IP_BIND_ADDRESS_NO_PORT, which is ours; the limit of the
queue, which `steer` sets again; the group's program, which each steering attaches again."""

FLAGS = "O_NONBLOCK"
FILTER = "SO_ATTACH_FILTER"


@dataclass(frozen=True, slots=True)
class ChangedOption:
    """An option that was changed. `why`: the reason it could not be restored; None if it was."""

    option: str
    why: str | None = None


def options_of(sock: socket.socket) -> dict[str, str]:
    """Return the values that the options have now."""
    found = {}
    for option in TABLE:
        value = _value(sock, option)
        if value is not None:
            found[option.name] = value.hex()
    return found


def restore(sock: socket.socket, options: Options) -> list[ChangedOption]:
    """Restore every option that differs from `options`; return those options."""
    changed = [*_set_flags(sock), *_detach_filter(sock)]
    for option in TABLE:
        value = _value(sock, option)
        wanted = option.reset_to
        if wanted is None and option.name in options:
            wanted = bytes.fromhex(options[option.name])
        if value is None or wanted is None or value == wanted:
            continue
        try:
            _set(sock, option, wanted)
        except OSError as error:
            changed.append(ChangedOption(option.name, error.strerror or str(error)))
        else:
            changed.append(ChangedOption(option.name))
    return changed


def original_options_of(sockets: Sequence[socket.socket]) -> dict[str, str]:
    """Return the options that one listener's sockets had before any worker changed them.

    The sockets were made alike, and workers get the last socket least often, so its values count.
    But if it alone differs from the others and from a new socket, a worker changed it, too.
    """
    *others, last = [options_of(sock) for sock in sockets]
    if not others:
        return last
    with socket.socket(sockets[0].family, socket.SOCK_STREAM) as fresh:
        default = options_of(fresh)
    found = dict(last)
    for name, value in last.items():
        theirs = {one.get(name) for one in others}
        if len(theirs) == 1 and value != default.get(name):
            (one,) = theirs
            found[name] = value if one is None else one
    return found


def set_nonblocking(sock: socket.socket) -> bool:
    """Make the socket non-blocking. Return True if a worker had made it blocking."""
    return bool(_set_flags(sock))


def _set_flags(sock: socket.socket) -> list[ChangedOption]:
    flags = fcntl.fcntl(sock, fcntl.F_GETFL)
    wanted = (flags | os.O_NONBLOCK) & ~os.O_ASYNC
    if flags == wanted:
        return []
    fcntl.fcntl(sock, fcntl.F_SETFL, wanted)
    return [ChangedOption(FLAGS)]


def _detach_filter(sock: socket.socket) -> list[ChangedOption]:
    """Remove a packet filter, which would drop packets before a connection exists."""
    if _locked(sock) and not _has_filter(sock):
        return []  # only a lock: it cannot be taken off, and does nothing
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            return []
        return [ChangedOption(FILTER, "it was locked with SO_LOCK_FILTER")]
    return [ChangedOption(FILTER)]


def is_deaf(sock: socket.socket) -> bool:
    """Whether the socket has a filter that cannot be removed: it may drop any client."""
    return _locked(sock) and _has_filter(sock)


def _locked(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER))


def _has_filter(sock: socket.socket) -> bool:
    """Whether the socket has a packet filter: SO_GET_FILTER without a buffer returns its length.

    socket.getsockopt() is unsafe here: the length counts instructions, not bytes, so the kernel
    could write beyond the buffer. For an eBPF filter the kernel returns EACCES.
    """
    length = ctypes.c_uint32(0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(sock.fileno(), socket.SOL_SOCKET, SO_GET_FILTER, None, ctypes.byref(length)):
        return ctypes.get_errno() == errno.EACCES
    return length.value > 0


def _value(sock: socket.socket, option: Option) -> bytes | None:
    """Return the option's value; None if this kernel or socket does not know the option."""
    if sock.family not in option.families:
        return None
    with suppress(OSError):
        found = sock.getsockopt(option.level, option.number, VALUE_BYTES)
        if option.name == "TCP_WINDOW_CLAMP" and _INT.unpack(found)[0] == NO_CLAMP:
            return OFF
        return found.rstrip(b"\0") if option.name in TEXTS else found
    return None


def _set(sock: socket.socket, option: Option, value: bytes) -> None:
    if option.name in ("SO_RCVBUF", "SO_SNDBUF"):
        value = _INT.pack(_INT.unpack(value)[0] // 2)  # the kernel doubles the value
    elif option.name == "TCP_MAXSEG" and value == _INT.pack(TCP_MAXSEG_DEFAULT):
        value = OFF
    elif option.name == "TCP_WINDOW_CLAMP" and value == OFF:
        value = _INT.pack(NO_CLAMP)
    sock.setsockopt(option.level, option.number, value or b"\0")
