"""Parsers of single values: each returns the typed value, or an error with what is allowed."""

import ipaddress
import math
import os
import re
import signal
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from wssupervisor.config.model import LISTENER_NAME, Address, UnixAddress, parse_address
from wssupervisor.config.tables import NotYet
from wssupervisor.durations import ALLOWED, parse_duration
from wssupervisor.fleet.model import ReadyBy

T = TypeVar("T")

WORKERS_MAX = 256
CLIENT_WORKERS_MAX = 128
"""With balance = "client": the kernel program needs 12 instructions for each worker, and must have
room for as many probes."""
SIGNALS = {one.name for one in signal.Signals} - {"SIGKILL", "SIGSTOP", "SIGCHLD"}

_HTTP_PATH = re.compile(r"/[!-~]*")
_HOST_NAME = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""The name of a header, or a subprotocol (RFC 9110, 5.6.2)."""
_HEADER_VALUE = re.compile(r"([!-~]([ -~]*[!-~])?)?")
_OWN_HEADERS = {
    "host": "use [ready] host",
    "sec-websocket-protocol": "use [ready] subprotocol",
    **dict.fromkeys(
        (
            "connection",
            "upgrade",
            "content-length",
            "transfer-encoding",
            "expect",
            "sec-websocket-key",
            "sec-websocket-version",
            "sec-websocket-extensions",
            "sec-websocket-accept",
        ),
        "the probe sets it itself",
    ),
}
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def duration(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError(ALLOWED)  # noqa: TRY004 - the reader collects ValueError
    return parse_duration(value)


def finite(value: object) -> float:
    try:
        seconds = duration(value)
    except ValueError:
        seconds = math.inf
    if math.isinf(seconds):
        raise ValueError('a finite duration such as "500ms", "30s", "10min" or "2h"')
    return seconds


def positive(value: object) -> float:
    seconds = finite(value)
    if seconds <= 0:
        raise ValueError('a duration above zero, such as "2s"')
    return seconds


def whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return read


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")  # noqa: TRY004 - the reader collects ValueError
    return value


def http_path(value: object) -> str:
    """A path as in a request: no blanks, no line ends."""
    allowed = 'a path such as "/healthz"'
    if not isinstance(value, str) or not _HTTP_PATH.fullmatch(value):
        raise ValueError(allowed)
    return value


def workers(value: object) -> int:
    """A number, or "auto": one worker for each CPU that this process may use."""
    if value == "auto":
        return min(len(os.sched_getaffinity(0)), WORKERS_MAX)
    try:
        return whole(1, WORKERS_MAX)(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "auto"') from None


def workers_option(value: object) -> int:
    """The same from the command line, which has only text."""
    given = str(value)
    return workers(int(given) if re.fullmatch(r"[0-9]{1,9}", given) else given)


def text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a non-empty string without NUL")
    return value


def strings(example: str) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"a list of strings, such as {example}")  # noqa: TRY004 - as above
        if not all(isinstance(one, str) and "\0" not in one for one in value):
            raise ValueError(f"a list of strings without NUL, such as {example}")
        return tuple(value)

    return read


def command(value: object) -> tuple[str, ...]:
    words = strings('["/srv/chat/current/bin/serve", "--port"]')(value)
    if not words or not words[0]:
        raise ValueError("a non-empty program and its arguments")
    return words


def environment_files(value: object) -> tuple[str, ...]:
    names = strings('["/etc/chat.env"]')(value)
    if not all(name.removeprefix("-") for name in names):
        raise ValueError('non-empty file names, such as "/etc/chat.env"')
    return names


def variable(name: str) -> Callable[[object], str]:
    """The value of an environment variable. The name is checked too."""

    def read(value: object) -> str:
        if not _VARIABLE.fullmatch(name):
            raise ValueError(
                "a name of letters, digits and underscores that does not begin with a digit"
            )
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f'a string without NUL, such as {name} = "eu"')
        return value

    return read


def one_of(allowed: Mapping[str, T], later: Collection[str] = ()) -> Callable[[object], T]:
    """One of these words. `later`: words of future versions, which are refused as such."""
    words = [f'"{word}"' for word in allowed]
    listed = " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

    def read(value: object) -> T:
        if isinstance(value, str) and value in allowed:
            return allowed[value]
        if isinstance(value, str) and value in later:
            raise NotYet(listed)
        raise ValueError(listed)

    return read


WEBSOCKETS_MIN = 15
"""Major version of the `websockets` package that the probe of [ready] by = "websocket" needs."""


def ready_by(value: object) -> ReadyBy:
    """A method that this installation supports: the WebSocket probe needs another package."""
    found = one_of({one.value: one for one in ReadyBy})(value)
    if found is ReadyBy.WEBSOCKET and (problem := _websockets_missing()) is not None:
        others = [f'"{one.value}"' for one in ReadyBy if one is not ReadyBy.WEBSOCKET]
        raise ValueError(
            f"{', '.join(others[:-1])} or {others[-1]}: {problem}. Install it with"
            f" `pip install 'websockets>={WEBSOCKETS_MIN}'`"
        )
    return found


def _websockets_missing() -> str | None:
    from importlib import metadata  # noqa: PLC0415 - slow, and rarely needed

    needed = f"the WebSocket probe needs the Python package websockets {WEBSOCKETS_MIN} or newer"
    try:
        version = metadata.version("websockets")
    except metadata.PackageNotFoundError:
        return f"{needed}, which is not installed"
    major = version.partition(".")[0]
    if major.isdecimal() and int(major) < WEBSOCKETS_MIN:
        return f"{needed}, but {version} is installed"
    return None


def signal_name(value: object) -> str:
    if not isinstance(value, str) or value not in SIGNALS:
        raise ValueError(f'a signal name such as "SIGTERM"{_signal_meant(value)}')
    return value


def drain_signal(value: object) -> str | None:
    if value == "none":
        return None
    try:
        return signal_name(value)
    except ValueError:
        raise ValueError(
            f'"none" or a signal name such as "SIGUSR1"{_signal_meant(value)}'
        ) from None


def _signal_meant(value: object) -> str:
    if value in ("SIGKILL", "SIGSTOP"):
        return ", which a worker can handle"
    full = f"SIG{value}".upper() if isinstance(value, str) else ""
    return f', did you mean "{full}"?' if full in SIGNALS else ""


def address(value: object) -> Address | UnixAddress:
    return parse_address(text(value))


def http_address(value: object) -> Address | UnixAddress:
    """An address that only this machine can reach, because HTTP has no authentication."""
    found = parse_address(text(value))
    if isinstance(found, Address) and not ipaddress.ip_address(found.host).is_loopback:
        raise ValueError(
            'a loopback address such as "127.0.0.1:9464" or "[::1]:9464", or "unix:/run/...",'
            " because it has no authentication. For other machines put a proxy in front of it"
        )
    return found


def agent_address(value: object) -> Address:
    """Any address: the agent reveals one word and accepts no input."""
    found = parse_address(text(value))
    if isinstance(found, UnixAddress):
        allowed = 'an IP address with a port such as "0.0.0.0:9465": HAProxy asks by TCP'
        raise ValueError(allowed)  # noqa: TRY004 - the value is wrong, not its type
    return found


def host_names(value: object) -> tuple[str, ...]:
    """Names as in a Host header, in lower case."""
    found = strings('["metrics.example.org"]')(value)
    if not all(_HOST_NAME.fullmatch(one) for one in found):
        raise ValueError(
            'host names, with a port if requests use one, such as "metrics.example.org"'
            ' or "localhost:8080"'
        )
    return tuple(one.lower() for one in found)


def host_name(value: object) -> str:
    """A name as in a Host header."""
    if not isinstance(value, str) or not _HOST_NAME.fullmatch(value):
        raise ValueError('a host name, with a port if clients use one, such as "chat.example.org"')
    return value


def subprotocol(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise ValueError('one WebSocket subprotocol, such as "graphql-transport-ws"')
    return value


def header(name: str) -> Callable[[object], str]:
    """The value of a request header. The name is checked too."""

    def read(value: object) -> str:
        if not _TOKEN.fullmatch(name):
            raise ValueError('a header name such as "Origin" or "Authorization"')
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"nothing: {_OWN_HEADERS[name.lower()]}")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ValueError(
                "a string of printable ASCII characters, without leading or trailing blanks"
            )
        return value

    return read


def file_mode(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError('an octal file mode as a string, such as "0660"')
    return int(value, 8)


def listener_name(value: object) -> str:
    if not isinstance(value, str) or not LISTENER_NAME.fullmatch(value):
        raise ValueError('lower-case letters, digits, "-" and "_", such as "ws"')
    return value
