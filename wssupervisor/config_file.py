"""Reads the configuration: every mistake found, each with file, table, key, found and allowed."""

import difflib
import os
import signal
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from wssupervisor.config import (
    NAME,
    Address,
    App,
    Config,
    Control,
    Drain,
    Listen,
    Mode,
    Overrides,
    Ready,
    Restart,
    Stop,
    parse_address,
)
from wssupervisor.durations import ALLOWED, parse_duration
from wssupervisor.errors import ConfigInvalid
from wssupervisor.fleet.model import ReadyBy

T = TypeVar("T")

TABLES: dict[str, frozenset[str]] = {
    "app": frozenset({"command", "directory", "workers", "environment_files", "environment"}),
    "listen": frozenset({"name", "address", "mode", "backlog", "accept_stall"}),
    "ready": frozenset({"by", "path", "send", "expect", "timeout", "stable"}),
    "drain": frozenset({"keep", "timeout", "signal", "close_over", "max_draining", "when_full"}),
    "stop": frozenset({"timeout", "close_over", "signal", "kill_after"}),
    "restart": frozenset({"backoff", "backoff_max"}),
    "watchdog": frozenset({"interval"}),
    "control": frozenset({"group_may_operate"}),
}
RESERVED = ("limits", "http", "hooks")
LATER = "comes in a later version; leave it out"
LATER_DEFAULTS: dict[tuple[str, str], object] = {
    ("drain", "close_over"): "30s",
    ("drain", "when_full"): "refuse",
    ("stop", "close_over"): "5s",
    ("watchdog", "interval"): "0s",
    ("control", "group_may_operate"): False,
    ("ready", "path"): None,
    ("ready", "send"): None,
    ("ready", "expect"): None,
}
"""Keys without effect yet: their defaults pass, anything else is an error that says so."""

SIGNALS = frozenset(one.name for one in signal.Signals) - {"SIGKILL", "SIGSTOP", "SIGCHLD"}
WORKERS_MAX = 256


class Reader:
    """Takes values out of the file's tables and collects what is wrong with them."""

    def __init__(self, path: str | None, data: Mapping[str, Any]) -> None:
        self.path = path or "command line"
        self.data = data
        self.problems: list[str] = []

    def wrong(self, table: str, key: str, found: object, expected: str) -> None:
        shown = repr(found) if found is not None else "nothing"
        self.problems.append(f"{self.path}: [{table}] {key}: found {shown}, expected {expected}")

    def table(self, name: str) -> Mapping[str, Any]:
        found = self.data.get(name, {})
        if not isinstance(found, dict):
            self.problems.append(f"{self.path}: {name} must be a table: [{name}]")
            return {}
        self.known(name, found)
        return found

    def known(self, name: str, found: Mapping[str, Any]) -> None:
        """Refuse keys that do not exist, and those that have no effect yet."""
        for key, value in found.items():
            if key not in TABLES[name]:
                allowed = ", ".join(sorted(TABLES[name]))
                self.problems.append(
                    f"{self.path}: [{name}] {key}: no such key{_meant(key, TABLES[name])}"
                    f" (allowed: {allowed})"
                )
            elif (name, key) in LATER_DEFAULTS and value != LATER_DEFAULTS[name, key]:
                self.problems.append(f"{self.path}: [{name}] {key} = {value!r}: {LATER}")

    def take(
        self,
        table: str,
        data: Mapping[str, Any],
        key: str,
        default: T,
        read: Callable[[Any], T],
    ) -> T:
        """One value; `read` raises ValueError("expected ...") for a wrong one."""
        if key not in data:
            return default
        try:
            return read(data[key])
        except ValueError as error:
            self.wrong(table, key, data[key], str(error).removeprefix("expected "))
            return default


def _meant(key: str, known: frozenset[str] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f", did you mean {close[0]}?" if close else ""


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(f"expected {ALLOWED}")  # noqa: TRY004 - the reader reports ValueError
    return parse_duration(value)


def _finite(value: Any) -> float:
    seconds = _duration(value)
    if seconds == float("inf"):
        raise ValueError('expected a finite duration such as "30s"')
    return seconds


def _positive(value: Any) -> float:
    seconds = _finite(value)
    if seconds <= 0:
        raise ValueError('expected a duration above zero, such as "2s"')
    return seconds


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"expected a whole number from {low} to {high}")
        return value

    return read


def _workers(value: Any) -> int:
    if value == "auto":
        return len(os.sched_getaffinity(0))
    try:
        return _whole(1, WORKERS_MAX)(value)
    except ValueError:
        raise ValueError(f'expected a whole number from 1 to {WORKERS_MAX}, or "auto"') from None


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError('expected a list of strings, such as ["bin/serve", "--port"]')
    if any("\0" in one for one in value):
        raise ValueError("expected strings without NUL")
    return tuple(value)


def _command(value: Any) -> tuple[str, ...]:
    words = _strings(value)
    if not words or not words[0]:
        raise ValueError("expected a program and its arguments")
    return words


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected a string that is not empty")
    return value


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    good = isinstance(value, dict) and all(
        isinstance(item, str) and "\0" not in item and "=" not in name and name
        for name, item in value.items()
    )
    if not good:
        raise ValueError('expected a table of strings, such as REGION = "eu"')
    return tuple(sorted(value.items()))


def _signal(value: Any) -> str:
    if value not in SIGNALS:
        raise ValueError('expected a signal name such as "SIGTERM"')
    return str(value)


def _drain_signal(value: Any) -> str | None:
    if value == "none":
        return None
    try:
        return _signal(value)
    except ValueError:
        raise ValueError('expected "none" or a signal name such as "SIGUSR1"') from None


def _ready_by(value: Any) -> ReadyBy:
    if value in ("http", "websocket"):
        raise ValueError(f'expected "connect", "notify" or "delay"; {value!r} {LATER}')
    try:
        return ReadyBy(value)
    except ValueError:
        raise ValueError('expected "connect", "notify" or "delay"') from None


def _mode(value: Any) -> Mode:
    if value == "shared":
        raise ValueError('expected "auto" or "steered"; shared mode ' + LATER)
    try:
        return Mode(value)
    except ValueError:
        raise ValueError('expected "auto" or "steered"') from None


def _address(value: Any) -> Address:
    return parse_address(_text(value))


def load_config(path: str | None, overrides: Overrides | None = None) -> Config:
    """Read the file (if there is one) and the command line. Raises ConfigInvalid with all of it."""
    overrides = overrides or Overrides()
    reader = Reader(path, _parsed(path))
    for name in reader.data:
        if name in RESERVED:
            reader.problems.append(f"{reader.path}: [{name}] {LATER}")
        elif name not in TABLES:
            reader.problems.append(
                f"{reader.path}: [{name}]: no such table{_meant(name, tuple(TABLES))}"
                f" (allowed: {', '.join(TABLES)})"
            )
    listeners = _listeners(reader, overrides)
    config = Config(
        name=_instance_name(reader, path, overrides),
        path=path,
        app=_app(reader, overrides),
        listeners=listeners,
        ready=_ready(reader),
        drain=_drain(reader),
        stop=_stop(reader),
        restart=_restart(reader),
        control=_control(reader),
    )
    reader.table("watchdog")
    _check_placeholders(reader, config)
    if reader.problems:
        raise ConfigInvalid(reader.problems)
    return config


def _parsed(path: str | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigInvalid(
            [f"{path}: no such file; give --config FILE, or --listen ADDRESS -- COMMAND"]
        ) from None
    except OSError as error:
        raise ConfigInvalid([f"{path}: cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigInvalid([f"{path}: not valid TOML: {error}"]) from None


def _instance_name(reader: Reader, path: str | None, overrides: Overrides) -> str:
    name = overrides.name or (Path(path).stem if path else "default")
    if not NAME.fullmatch(name):
        reader.problems.append(
            f"instance name {name!r}: letters, digits, dot, hyphen and underscore are allowed;"
            " set another one with --name"
        )
    return name


def _app(reader: Reader, overrides: Overrides) -> App:
    data = reader.table("app")
    command = overrides.command or reader.take("app", data, "command", (), _command)
    if not command and "command" not in data:
        reader.wrong("app", "command", None, 'a list such as ["/srv/chat/current/bin/serve"]')
    workers = reader.take("app", data, "workers", 1, _workers)
    if overrides.workers is not None:
        given = overrides.workers
        number: object = int(given) if given.isdecimal() else given
        workers = reader.take("app", {"--workers": number}, "--workers", workers, _workers)
    return App(
        command=command,
        directory=reader.take("app", data, "directory", ".", _text),
        workers=workers,
        environment_files=reader.take("app", data, "environment_files", (), _strings),
        environment=reader.take("app", data, "environment", (), _pairs),
    )


def _listeners(reader: Reader, overrides: Overrides) -> tuple[Listen, ...]:
    tables = reader.data.get("listen", [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        reader.problems.append(f"{reader.path}: listen must be written as [[listen]]")
        tables = []
    if overrides.listen:
        found = [_from_option(reader, at, text) for at, text in enumerate(overrides.listen)]
    else:
        found = [_listener(reader, one) for one in tables]
    if not found and not reader.problems:
        reader.wrong("[listen]", "address", None, 'at least one listener, such as "0.0.0.0:8765"')
    names = [one.name for one in found]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.problems.append(f"{reader.path}: [[listen]] name {name!r} is used twice")
    return tuple(found)


def _from_option(reader: Reader, at: int, text: str) -> Listen:
    name, equals, address = text.partition("=")
    if not equals:
        name, address = ("ws" if at == 0 else f"ws{at + 1}"), text
    data = {"--listen": address}
    return Listen(name, reader.take("[listen]", data, "--listen", None, _address))


def _listener(reader: Reader, data: Mapping[str, Any]) -> Listen:
    reader.known("listen", data)

    def name(value: Any) -> str:
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise ValueError('expected letters, digits, "-", "_" and ".", such as "ws"')
        return value

    return Listen(
        name=reader.take("[listen]", data, "name", "ws", name),
        address=reader.take("[listen]", data, "address", None, _address),
        mode=reader.take("[listen]", data, "mode", Mode.AUTO, _mode),
        backlog=reader.take("[listen]", data, "backlog", 4096, _whole(1, 1 << 20)),
        accept_stall=reader.take("[listen]", data, "accept_stall", 2.0, _positive),
    )


def _ready(reader: Reader) -> Ready:
    data = reader.table("ready")
    return Ready(
        by=reader.take("ready", data, "by", ReadyBy.CONNECT, _ready_by),
        timeout=reader.take("ready", data, "timeout", 30.0, _positive),
        stable=reader.take("ready", data, "stable", 1.0, _finite),
    )


def _drain(reader: Reader) -> Drain:
    data = reader.table("drain")
    return Drain(
        keep=reader.take("drain", data, "keep", 30.0, _finite),
        timeout=reader.take("drain", data, "timeout", float("inf"), _duration),
        signal=reader.take("drain", data, "signal", None, _drain_signal),
        max_draining=reader.take("drain", data, "max_draining", 8, _whole(1, 100)),
    )


def _stop(reader: Reader) -> Stop:
    data = reader.table("stop")
    return Stop(
        timeout=reader.take("stop", data, "timeout", 30.0, _finite),
        signal=reader.take("stop", data, "signal", "SIGTERM", _signal),
        kill_after=reader.take("stop", data, "kill_after", 10.0, _finite),
    )


def _restart(reader: Reader) -> Restart:
    data = reader.table("restart")
    return Restart(
        backoff=reader.take("restart", data, "backoff", 0.5, _positive),
        backoff_max=reader.take("restart", data, "backoff_max", 30.0, _positive),
    )


def _control(reader: Reader) -> Control:
    reader.table("control")
    return Control()


def _check_placeholders(reader: Reader, config: Config) -> None:
    names = {one.name for one in config.listeners}
    for word in config.app.command:
        if "{fd}" in word and len(names) > 1:
            expected = "one of " + ", ".join(f"{{fd:{name}}}" for name in sorted(names))
            reader.wrong("app", "command", word, f"{expected}: there are several listeners")
        for part in word.split("{fd:")[1:]:
            name = part.partition("}")[0]
            if name not in names:
                expected = "the name of a listener: " + ", ".join(sorted(names))
                reader.wrong("app", "command", "{fd:" + name + "}", expected)
