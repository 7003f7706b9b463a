"""The schema of the configuration: every table and key, and the options that override them."""

import grp
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wssupervisor.config import parsers as values
from wssupervisor.config.app import UNREADABLE, read_app
from wssupervisor.config.model import (
    INSTANCE_NAME,
    Balance,
    Config,
    Control,
    Drain,
    Http,
    Listen,
    Mode,
    Overrides,
    Ready,
    Restart,
    Stop,
    UnixAddress,
    Watchdog,
    instance_name,
    overlap,
)
from wssupervisor.config.tables import COMMAND_LINE, HIDDEN, Reader, Table
from wssupervisor.errors import ConfigInvalid
from wssupervisor.files import read_text
from wssupervisor.fleet.model import Check, ReadyBy, WhenFull

TABLES = ("app", "listen", "ready", "drain", "stop", "restart", "watchdog", "control", "http")
RESERVED = ("limits", "hooks")

BACKLOG_MAX = 1 << 20
DRAINING_MAX = 100
FILE_BYTES_MAX = 1 << 20

INSTANCES = Path("/etc/wssupervisor")
"""The directory of the units' configurations."""


def load_config(
    path: str | None, overrides: Overrides | None = None, text: str | None = None
) -> Config:
    """Read the file (if there is one) and the options. Raises ConfigInvalid with every problem.

    `text`: the content of the file from an earlier read.
    """
    given = overrides or Overrides()
    reader = Reader(path or COMMAND_LINE, _parsed(path, text))
    name = _name(reader, path, given)
    listeners = _listeners(reader, given.listen)
    config = Config(
        name=name,
        path=path,
        app=read_app(reader, given, listeners),
        listeners=tuple(listeners.values()),
        ready=_ready(reader, listeners),
        drain=_drain(reader.table("drain")),
        stop=_stop(reader.table("stop")),
        restart=_restart(reader.table("restart")),
        watchdog=_watchdog(reader.table("watchdog")),
        control=_control(reader.table("control")),
        http=_http(reader.table("http"), listeners),
    )
    reader.refuse_unknown(TABLES, RESERVED)
    if reader.problems:
        raise ConfigInvalid(reader.problems)
    return config


def read_config(path: str | None) -> str | None:
    """Return the content of the file; None without a file. Raises ConfigInvalid."""
    if path is None:
        return None
    try:
        return read_text(path, FILE_BYTES_MAX)
    except FileNotFoundError:
        problem = f"no such file{_meant(Path(path))}"
    except PermissionError as error:
        problem = f"cannot be read: {error.strerror}{_whose(Path(path))}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"not valid TOML: not UTF-8 at byte {error.start}"
    raise ConfigInvalid([f"{path}: {problem}"])


def _whose(path: Path) -> str:
    """Return the mode of the file, and how to let the group of this instance read it."""
    try:
        found = path.stat()
        group = grp.getgrgid(os.getegid()).gr_name
    except (OSError, KeyError):
        return ""
    return f" ({stat.filemode(found.st_mode)}). Let the instance read it with: chgrp {group} {path}"


def _meant(missing: Path) -> str:
    """Return the file that may have been meant, and what else to do."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a missing file

    advice = "give --config FILE, or --listen ADDRESS -- COMMAND"
    if missing.parent == INSTANCES:
        name = missing.stem if INSTANCE_NAME.fullmatch(missing.stem) else "NAME"
        advice = f"make the instance with `wssctl init {name}`"
    try:
        found = sorted(one.name for one in missing.parent.glob("*.toml"))
    except OSError:
        found = []
    meant = get_close_matches(missing.name, found, 1)
    return f", did you mean {missing.with_name(meant[0])}? Or {advice}" if meant else f"; {advice}"


def _parsed(path: str | None, text: str | None) -> Mapping[str, object]:
    if text is None:
        text = read_config(path)
    if text is None:
        return {}
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number with thousands of digits
        problem = f"not valid TOML: {error}"
    except RecursionError:
        problem = "not valid TOML: nested too deeply"
    raise ConfigInvalid([f"{path}: {problem}"])


def _name(reader: Reader, path: str | None, given: Overrides) -> str:
    try:
        return instance_name(path, given)
    except ConfigInvalid as error:
        reader.problems += error.problems
        return ""


# -- [[listen]] -------------------------------------------------------------------------------


def _listeners(reader: Reader, options: Sequence[str]) -> dict[str, Listen]:
    """Return listeners by name, in order."""
    tables = reader.tables("listen")
    found: dict[str, Listen] = {}
    for table in tables:
        _put(found, table, _listener(table), "name", "address")
    if options:
        return _from_options(reader, options, found)
    malformed = bool(reader.data.get("listen")) and not tables
    if not found and not malformed:
        _miss_listeners(reader)
    return found


def _miss_listeners(reader: Reader) -> None:
    if reader.source == COMMAND_LINE:
        reader.options({}).missing("--listen", "an address, such as --listen 127.0.0.1:8765")
    else:
        allowed = 'at least one, such as [[listen]] with address = "0.0.0.0:8765"'
        Table(reader.problems, f"{reader.source}: ", {}).missing("[[listen]]", allowed)


def _listener(table: Table) -> Listen:
    modes = {one.value: one for one in Mode}
    balances = {one.value: one for one in Balance}
    found = Listen(
        name=table.take("name", values.listener_name, "ws"),
        address=table.take("address", values.address, None),
        mode=table.take("mode", values.one_of(modes), Mode.AUTO),
        balance=table.take("balance", values.one_of(balances), Balance.RANDOM),
        backlog=table.take("backlog", values.whole(1, BACKLOG_MAX), 4096),
        accept_stall=table.take("accept_stall", values.positive, 2.0),
        replace_after=table.take("replace_after", values.positive, 10.0),
        socket_mode=table.take("socket_mode", values.file_mode, 0o666),
        socket_user=table.take("socket_user", values.text, None),
        socket_group=table.take("socket_group", values.text, None),
    )
    if isinstance(found.address, UnixAddress):
        if found.mode is Mode.STEERED:
            table.wrong("mode", "steered", '"auto" or "shared": AF_UNIX sockets cannot be steered')
    else:
        for key in ("socket_mode", "socket_user", "socket_group"):
            if key in table.data and key not in table.failed:
                allowed = "nothing: only addresses that begin with unix: use it"
                table.wrong(key, table.data[key], allowed)
    if found.balance is Balance.CLIENT and found.why_shared is not None:
        allowed = f'"random", because the listener is shared ({found.why_shared})'
        table.wrong("balance", found.balance.value, allowed)
    return found


def _from_options(
    reader: Reader, options: Sequence[str], written: Mapping[str, Listen]
) -> dict[str, Listen]:
    """Read [NAME=]ADDRESS options, which replace the file's listeners.

    A listener with the same name keeps its other keys from the file.
    """
    found: dict[str, Listen] = {}
    for at, text in enumerate(options):
        name, equals, address = text.rpartition("=")
        if not equals:
            name = "ws" if at == 0 else f"ws{at + 1}"
        table = reader.options({"--listen": address, "--listen name": name})
        name = table.take("--listen name", values.listener_name, "ws")
        base = written.get(name, Listen(name, None))
        listen = replace(base, address=table.take("--listen", values.address, None))
        _put(found, table, listen, "--listen name", "--listen")
    return found


def _apart(listen: Listen, other: Listen) -> str:
    text = f"an address that {other.address} of {other.name!r} does not include"
    if {"0.0.0.0", "::"} == {getattr(one.address, "host", "") for one in (listen, other)}:  # noqa: S104
        return f"{text}: [::] also takes IPv4 clients, so leave 0.0.0.0 out"
    return text


def _put(
    found: dict[str, Listen], table: Table, listen: Listen, name_key: str, address_key: str
) -> None:
    """Add the listener. A name or an address that another listener has is wrong."""
    if name_key in table.failed:
        found[UNREADABLE] = listen
        return
    if listen.name in found:
        table.wrong(name_key, listen.name, 'a name that no other listener has (default: "ws")')
    for other in found.values():
        if listen.address is not None and listen.address == other.address:
            table.wrong(address_key, str(listen.address), f"another address: {other.name!r} has it")
        elif overlap(listen.address, other.address):
            table.wrong(address_key, str(listen.address), _apart(listen, other))
    found[listen.name] = listen


# -- the other tables -------------------------------------------------------------------------


PROBED = frozenset({ReadyBy.CONNECT, ReadyBy.HTTP, ReadyBy.WEBSOCKET})
"""Not in shared mode: a probe cannot choose among generations that accept from one socket."""


def _ready(reader: Reader, listeners: Mapping[str, Listen]) -> Ready:
    table = reader.table("ready")
    by = table.take("by", values.ready_by, ReadyBy.CONNECT)
    found = Ready(
        by=by,
        timeout=table.take("timeout", values.positive, 30.0),
        stable=table.take("stable", values.finite, 1.0),
        check=_check(reader, table, by, listeners),
    )
    shared = next((one for one in listeners.values() if one.why_shared is not None), None)
    if shared is not None and found.by in PROBED and "by" not in table.failed:
        allowed = f'"notify" or "delay": listener {shared.name!r} is shared ({shared.why_shared})'
        if "by" in table.data:
            table.wrong("by", found.by.value, allowed)
        else:
            table.missing("by", allowed)
    return found


def _check(
    reader: Reader, table: Table, by: ReadyBy, listeners: Mapping[str, Listen]
) -> Check | None:
    """Read the keys for `http` and `websocket`, which are wrong with other methods."""
    names = {name: name for name in listeners if name != UNREADABLE}
    first = next(iter(names), "")
    check = Check(
        by=by,
        listener=table.take("listener", values.one_of(names), first) if names else first,
        path=table.take("path", values.http_path, "/"),
        send=table.take("send", values.text, None),
        expect=table.take("expect", values.text, None),
        host=table.take("host", values.host_name, None),
        headers=_headers(reader.within(table, "headers")),
        subprotocol=table.take("subprotocol", values.subprotocol, None),
    )
    both = (ReadyBy.HTTP, ReadyBy.WEBSOCKET)
    for key in ("listener", "path", "host", "headers", "send", "expect", "subprotocol"):
        ways = (ReadyBy.WEBSOCKET,) if key in ("send", "expect", "subprotocol") else both
        if key in table.data and key not in table.failed and by not in ways:
            needs = " or ".join(f'"{way.value}"' for way in ways)
            written = HIDDEN if key == "headers" else table.data[key]
            table.wrong(key, written, f"nothing: only by = {needs} uses it")
    return check if by in both else None


def _headers(table: Table) -> tuple[tuple[str, str], ...]:
    """Read the headers. Their values may be secrets, so no message repeats one."""
    found: dict[str, tuple[str, str]] = {}
    for name in table.data:
        value = table.take(name, values.header(name), "", secret=True)
        if name.lower() in found:
            table.wrong(name, HIDDEN, f"the header once: {found[name.lower()][0]} is the same")
        found[name.lower()] = (name, value)
    return tuple(found.values())


def _drain(table: Table) -> Drain:
    ways = {one.value: one for one in WhenFull}
    return Drain(
        keep=table.take("keep", values.finite, 30.0),
        timeout=table.take("timeout", values.duration, float("inf")),
        close_over=table.take("close_over", values.finite, 30.0),
        signal=table.take("signal", values.drain_signal, None),
        max_draining=table.take("max_draining", values.whole(1, DRAINING_MAX), 8),
        when_full=table.take("when_full", values.one_of(ways), WhenFull.REFUSE),
    )


def _stop(table: Table) -> Stop:
    return Stop(
        timeout=table.take("timeout", values.finite, 30.0),
        close_over=table.take("close_over", values.finite, 5.0),
        signal=table.take("signal", values.signal_name, "SIGTERM"),
        kill_after=table.take("kill_after", values.finite, 10.0),
    )


def _restart(table: Table) -> Restart:
    found = Restart(
        backoff=table.take("backoff", values.positive, 0.5),
        backoff_max=table.take("backoff_max", values.positive, 30.0),
    )
    if not table.failed and found.backoff_max < found.backoff:
        written = table.data.get("backoff_max", "30s")
        table.wrong("backoff_max", written, f"at least backoff, {table.data.get('backoff')}")
    return found


def _watchdog(table: Table) -> Watchdog:
    return Watchdog(
        interval=table.take("interval", values.finite, 0.0),
        replace_after=table.take("replace_after", values.finite, 60.0),
    )


def _control(table: Table) -> Control:
    return Control(group_may_operate=table.take("group_may_operate", values.boolean, default=False))


def _http(table: Table, listeners: Mapping[str, Listen]) -> Http:
    found = Http(
        address=table.take("address", values.http_address, None),
        hosts=table.take("hosts", values.host_names, ()),
        agent=table.take("agent", values.agent_address, None),
    )
    for key, address in (("address", found.address), ("agent", found.agent)):
        for one in listeners.values():
            if overlap(address, one.address):
                table.wrong(key, str(address), f"another address: {one.name!r} has it")
    if overlap(found.agent, found.address):
        table.wrong("agent", str(found.agent), "another address: [http] address has it")
    if found.hosts and "address" not in table.data:
        table.missing(
            "address", 'an address such as "127.0.0.1:9464": hosts has no effect without it'
        )
    return found
