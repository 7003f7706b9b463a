"""How this machine connects to one of its own listening sockets, whatever it is bound to.

A link-local address means nothing without its interface. A socket that is bound to a device
(BindToDevice=) takes only connections over that device, and those to one of the device's addresses.
"""

import fcntl
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SO_BINDTODEVICE = 25
SIOCGIFADDR = 0x8915
_NAME = struct.Struct("=15sx24x")
_ADDRESS_AT = slice(20, 24)
NAME_BYTES = 16
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared
LINK_LOCAL = "fe80:"


@dataclass(frozen=True, slots=True)
class Reach:
    """`interface`: the index by which the kernel knows the socket's connections; 0 for any."""

    family: int
    host: str
    port: int
    interface: int = 0
    device: bytes = b""

    @property
    def target(self) -> tuple[str, int] | tuple[str, int, int, int]:
        return self._with_scope(self.port)

    @property
    def source(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The address for our client socket to bind to, with any port."""
        return self._with_scope(0)

    def _with_scope(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        if self.family == socket.AF_INET:
            return (self.host, port)
        scope = self.interface if self.host.startswith(LINK_LOCAL) else 0
        return (self.host, port, 0, scope)


def reach(listening: socket.socket) -> Reach:
    """Return how this machine connects to the socket."""
    family, (host, port, *more) = listening.family, listening.getsockname()
    host = host.partition("%")[0]
    device = listening.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, NAME_BYTES).rstrip(b"\0")
    interface = more[1] if more else 0
    if device:
        with suppress(OSError):
            interface = socket.if_nametoindex(device.decode())
    if host in EVERYWHERE:
        host = (device and _address_of(device, family)) or _loopback(family)
    return Reach(family, host, port, interface, device)


def _loopback(family: int) -> str:
    return "127.0.0.1" if family == socket.AF_INET else _loopback6()


@cache
def _loopback6() -> str:
    """Return ::1, or 127.0.0.1 mapped to IPv6 if IPv6 is off: "::" can be bound even then."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return "::ffff:127.0.0.1"
    return "::1"


def _address_of(device: bytes, family: int) -> str | None:
    """Return an address of the device."""
    if family == socket.AF_INET6:
        return _address6_of(device)
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        found = fcntl.ioctl(sock, SIOCGIFADDR, _NAME.pack(device))
        return socket.inet_ntoa(found[_ADDRESS_AT])
    return None


def _address6_of(device: bytes) -> str | None:
    found = []
    with suppress(OSError):
        for line in Path("/proc/thread-self/net/if_inet6").read_text(encoding="ascii").splitlines():
            address, *_, name = line.split()
            if name.encode() == device:
                found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address)))
    # Link-local addresses last.
    return min(found, key=lambda one: one.startswith(LINK_LOCAL), default=None)
