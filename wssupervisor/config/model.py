"""The configuration of an instance, as values. `schema` reads them from the file."""

import ipaddress
import os
import re
import socket
from dataclasses import dataclass, fields, replace
from enum import Enum
from pathlib import Path

from wssupervisor.config.tables import COMMAND_LINE, shown
from wssupervisor.errors import ConfigInvalid
from wssupervisor.fleet.model import Check, Policy, ReadyBy, WhenFull

INSTANCE_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63}")
"""Safe as a directory name, as an option value and in unit names: systemd does not escape it.

With 64 characters the path of the control socket still fits below a user's runtime directory.
"""
INSTANCE_NAME_ALLOWED = (
    'at most 64 letters, digits, ".", "-" and "_", of which "." and "-" do not come first'
)

LISTENER_NAME = re.compile(r"[a-z0-9_-]+")
"""Safe in LISTEN_FDNAMES (colons separate names there) and in {fd:NAME}."""

_PORT = re.compile(r"[0-9]{1,5}")


OWN_DESCRIPTORS = 30
"""Measured: 16 without systemd, for log, history, state, control socket and event loop."""
DESCRIPTORS_PER_WORKER = 6
"""Measured: 4, for its process, its output, its notify socket and its channel."""
SPARE_DESCRIPTORS = 20
"""For short uses: while a worker is started, and while /proc is read."""
CLIENTS = 100
"""Descriptors for clients: at most 64 at the control socket, and 32 at [http]."""


class Mode(Enum):
    AUTO = "auto"
    STEERED = "steered"
    SHARED = "shared"


class Balance(Enum):
    """What picks the worker of a new connection, in steered mode."""

    RANDOM = "random"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Address:
    family: socket.AddressFamily
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.family == socket.AF_INET6 else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str

    def __str__(self) -> str:
        return f"{UNIX}{self.path}"


LOCALHOST = "localhost"
"""Means only 127.0.0.1: a client that tries ::1 first tries this address next."""
UNIX = "unix:"
UNIX_PATH_BYTES = 107
"""Fits into a sockaddr_un, with its NUL."""


def parse_address(text: str) -> Address | UnixAddress:
    """Parse an IP address with a port, or an AF_UNIX path. The ValueError names what is allowed."""
    allowed = 'an address such as "0.0.0.0:8765", "[::]:8765" or "unix:/run/chat/chat.sock"'
    if text.startswith(UNIX):
        path = text.removeprefix(UNIX)
        if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > UNIX_PATH_BYTES:
            raise ValueError(
                f"expected an absolute path after unix:, of at most {UNIX_PATH_BYTES} bytes"
            )
        return UnixAddress(os.path.normpath(path))
    host, colon, port = text.rpartition(":")
    if host in ("", "*") and _PORT.fullmatch(port):
        raise ValueError(f'expected {allowed}, did you mean "0.0.0.0:{port}"?')
    if not colon or not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise ValueError(f"expected {allowed}, with a port from 1 to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    if host == LOCALHOST:
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(
            f"expected {allowed}; host names other than {LOCALHOST} are not resolved"
        ) from None
    if "%" in host:
        raise ValueError(f"expected {allowed}, without a zone")
    if bracketed != (address.version == 6):
        raise ValueError(f"expected {allowed}: IPv6 addresses, and only they, go in brackets")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return Address(family, str(address), int(port))


def overlap(one: Address | UnixAddress | None, other: Address | UnixAddress | None) -> bool:
    """Whether two addresses cannot be listened on at the same time, judging by their text."""
    if not isinstance(one, Address) or not isinstance(other, Address):
        return one is not None and one == other
    if one.port != other.port:
        return False
    if one.family != other.family:  # our IPv6 socket on all addresses also takes IPv4 clients
        return "::" in (one.host, other.host)
    everywhere = ("0.0.0.0", "::")  # noqa: S104 - compared
    return one.host == other.host or one.host in everywhere or other.host in everywhere


@dataclass(frozen=True, slots=True)
class App:
    """`directory` as written; `release` resolves it.

    `pass_environment`: names. A variable whose name here begins with "-" may be unset.
    """

    command: tuple[str, ...]
    directory: str
    workers: int = 1
    environment_files: tuple[str, ...] = ()
    pass_environment: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    forward_signals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listen:
    """`address` None: systemd passes the sockets. `accept_stall`, `replace_after` in seconds.

    `socket_mode`, `socket_user` and `socket_group` are of an AF_UNIX socket that we bind.
    """

    name: str
    address: Address | UnixAddress | None
    mode: Mode = Mode.AUTO
    balance: Balance = Balance.RANDOM
    backlog: int = 4096
    accept_stall: float = 2.0
    replace_after: float = 10.0
    socket_mode: int = 0o666
    socket_user: str | None = None
    socket_group: str | None = None

    @property
    def why_shared(self) -> str | None:
        """Why the listener is in shared mode, judging by the configuration."""
        if isinstance(self.address, UnixAddress):
            return "AF_UNIX sockets cannot be steered"
        return 'mode = "shared" in the configuration' if self.mode is Mode.SHARED else None


@dataclass(frozen=True, slots=True)
class Ready:
    by: ReadyBy = ReadyBy.CONNECT
    timeout: float = 30.0
    stable: float = 1.0
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Drain:
    keep: float = 30.0
    timeout: float = float("inf")
    close_over: float = 30.0
    signal: str | None = None
    max_draining: int = 8
    when_full: WhenFull = WhenFull.REFUSE


@dataclass(frozen=True, slots=True)
class Stop:
    timeout: float = 30.0
    close_over: float = 5.0
    signal: str = "SIGTERM"
    kill_after: float = 10.0


@dataclass(frozen=True, slots=True)
class Restart:
    backoff: float = 0.5
    backoff_max: float = 30.0


@dataclass(frozen=True, slots=True)
class Watchdog:
    """`interval`: seconds; 0: workers need not send heartbeats."""

    interval: float = 0.0
    replace_after: float = 60.0


@dataclass(frozen=True, slots=True)
class Control:
    group_may_operate: bool = False


@dataclass(frozen=True, slots=True)
class Http:
    """`address` None: no HTTP. `hosts`: further names that requests may use.

    `agent`: the address that answers HAProxy's agent-check; None: no agent.
    """

    address: Address | UnixAddress | None = None
    hosts: tuple[str, ...] = ()
    agent: Address | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """The options of the daemon's command line, which override the file.

    `pass_environment` is added to the file's. `start`: the directory that relative paths start
    from; "" for the current directory.
    """

    name: str | None = None
    listen: tuple[str, ...] = ()
    workers: str | None = None
    command: tuple[str, ...] = ()
    pass_environment: tuple[str, ...] = ()
    start: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """`path` is None if everything came from the command line. Spans in seconds."""

    name: str
    path: str | None
    app: App
    listeners: tuple[Listen, ...]
    ready: Ready = Ready()
    drain: Drain = Drain()
    stop: Stop = Stop()
    restart: Restart = Restart()
    watchdog: Watchdog = Watchdog()
    control: Control = Control()
    http: Http = Http()

    def policy(self) -> Policy:
        """The part of the configuration that decisions need."""
        return Policy(
            workers=self.app.workers,
            ready_by=self.ready.by,
            ready_timeout=self.ready.timeout,
            check=self.ready.check,
            stable=self.ready.stable,
            accept_stall=min(one.accept_stall for one in self.listeners),
            replace_stalled=min(one.replace_after for one in self.listeners),
            keep=self.drain.keep,
            drain_timeout=self.drain.timeout,
            close_over=self.drain.close_over,
            drain_signal=self.drain.signal,
            max_draining=self.drain.max_draining,
            when_full=self.drain.when_full,
            stop_timeout=self.stop.timeout,
            stop_close_over=self.stop.close_over,
            stop_signal=self.stop.signal,
            kill_after=self.stop.kill_after,
            backoff=self.restart.backoff,
            backoff_max=self.restart.backoff_max,
            watchdog=self.watchdog.interval,
            replace_after=self.watchdog.replace_after,
            by_client=tuple(one.name for one in self.listeners if one.balance is Balance.CLIENT),
            forward_signals=self.app.forward_signals,
        )

    def slots_wanted(self) -> int:
        """Slots per listener if we bind them: for each generation side by side, and two spare."""
        return self.app.workers * (2 + self.drain.max_draining) + 2

    def descriptors_at_start(self) -> int:
        """Open descriptors of the supervisor once its first generation serves."""
        return self._descriptors(self.app.workers) + SPARE_DESCRIPTORS

    def descriptors_wanted(self) -> int:
        """Open descriptors with all draining generations allowed and all clients of its sockets."""
        return self._descriptors(self.app.workers * self.generations_wanted()) + CLIENTS

    def generations_wanted(self) -> int:
        """Generations side by side: the active one, the starting one, and all that may drain."""
        return 2 + self.drain.max_draining

    def generations_within(self, allowed: int) -> int:
        """How many generations side by side surely fit into `allowed` descriptors."""
        left = allowed - self._descriptors(0) - SPARE_DESCRIPTORS
        fit = left // (self.app.workers * DESCRIPTORS_PER_WORKER)
        return min(max(0, fit), self.generations_wanted())

    def _descriptors(self, workers: int) -> int:
        slots = len(self.listeners) * self.slots_wanted()
        return OWN_DESCRIPTORS + slots + workers * DESCRIPTORS_PER_WORKER


def instance_name(path: str | None, overrides: Overrides) -> str:
    """Return --name, else the stem of the file, else "default". Raises ConfigInvalid."""
    if overrides.name is not None:
        name, source, advice = overrides.name, f"{COMMAND_LINE}: --name", ""
    elif path is not None:
        name, source = Path(path).stem, f"{path}: instance name"
        advice = ". Rename the file, or give --name"
    else:
        return "default"
    if not INSTANCE_NAME.fullmatch(name):
        found = shown(name)
        raise ConfigInvalid([f"{source}: found {found}, expected {INSTANCE_NAME_ALLOWED}{advice}"])
    return name


def restart_needed(old: Config, new: Config) -> list[str]:
    """Return the changed keys that a reload cannot apply."""
    found = ["name"] if old.name != new.name else []
    if [one.name for one in old.listeners] != [one.name for one in new.listeners]:
        found.append("[[listen]] name")
    else:
        for before, after in zip(old.listeners, new.listeners, strict=True):
            which = "" if len(old.listeners) == 1 else f" of {before.name!r}"
            same = replace(before, balance=after.balance)  # a reload applies it at the cutover
            found += [f"[[listen]] {key}{which}" for key in _changed(same, after)]
    found += [f"[control] {key}" for key in _changed(old.control, new.control)]
    return found + [f"[http] {key}" for key in _changed(old.http, new.http)]


def _changed(before: Listen | Control | Http, after: Listen | Control | Http) -> list[str]:
    return [
        one.name for one in fields(before) if getattr(before, one.name) != getattr(after, one.name)
    ]
