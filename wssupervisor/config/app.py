"""[app]: the command to run, and its environment."""

import re
from collections.abc import Callable, Mapping, Sequence

from wssupervisor.config import parsers as values
from wssupervisor.config.model import App, Balance, Listen, Overrides
from wssupervisor.config.tables import PartWrong, Reader, Table
from wssupervisor.start_directory import absolute

UNREADABLE = ""
"""Stands for a wrong name: a reference to an unknown listener may mean this one."""

FORWARDABLE = ("SIGUSR1", "SIGWINCH")
"""Signals without a meaning for the supervisor itself."""

_PLACEHOLDER = re.compile(r"\{fd(?:\}|:([^}]*)(\}?))")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SET_BY_US = re.compile(r"(LISTEN_|WSSUPERVISOR_).*|NOTIFY_SOCKET|WATCHDOG_(USEC|PID)")

_BRACED = re.compile(r"(?<!\$)\$\{[A-Z_][A-Z0-9_]*(?:[-:=?+][^}]*)?\}")
_ESCAPED = re.compile(r"\$(\$\{[A-Z_])")
_WHOLE = re.compile(r"(?:--?[A-Za-z0-9-]+=)?(\$[A-Z_][A-Z0-9_]*)")
_COMMON = re.compile(r"\$(?:PATH|HOME|USER|PYTHONPATH|LD_LIBRARY_PATH)(?![A-Za-z0-9_])")
_PROGRAM_FOLLOWS = re.compile(r"-[A-Za-z]*[ceS]|--eval|--command|--split-string")


def read_app(reader: Reader, given: Overrides, listeners: Mapping[str, Listen]) -> App:
    table = reader.table("app")
    options = reader.options(
        {
            "--workers": given.workers,
            "COMMAND": given.command,
            "--pass-environment": given.pass_environment,
        }
    )
    nothing: tuple[str, ...] = ()
    command = table.take("command", _words, nothing)
    workers = table.take("workers", values.workers, 1)
    if given.command:
        command = options.take("COMMAND", values.command, nothing)
        _check_placeholders(options, "COMMAND", command, listeners)
    elif "command" in table.data:
        _check_placeholders(table, "command", command, listeners)
    else:
        table.missing("command", 'a list such as ["/srv/chat/current/bin/serve"]')
    if given.workers is not None:
        workers = options.take("--workers", values.workers_option, workers)
    _check_balance(table if given.workers is None else options, workers, listeners)
    environment = reader.within(table, "environment")
    found = {name: environment.take(name, _variable(name), "") for name in sorted(environment.data)}
    passed = table.take("pass_environment", _names(found), nothing)
    passed += options.take("--pass-environment", _names(found), nothing)
    files = table.take("environment_files", values.environment_files, nothing)
    return App(
        command=command,
        directory=absolute(given.start, table.take("directory", values.text, ".")),
        workers=workers,
        environment_files=tuple(_file(given.start, name) for name in files),
        pass_environment=tuple(dict.fromkeys(passed)),
        environment=tuple(found.items()),
        forward_signals=table.take("forward_signals", _signals, nothing),
    )


def _check_balance(table: Table, workers: int, listeners: Mapping[str, Listen]) -> None:
    by_client = next(
        (one.name for one in listeners.values() if one.balance is Balance.CLIENT), None
    )
    if by_client is not None and workers > values.CLIENT_WORKERS_MAX:
        key = "workers" if "workers" in table.known else "--workers"
        allowed = f'at most {values.CLIENT_WORKERS_MAX}: {by_client!r} has balance = "client"'
        table.wrong(key, workers, allowed)


def _file(start: str, name: str) -> str:
    """Make the path absolute. A leading "-" means that the file may be missing."""
    dash = "-" if name.startswith("-") else ""
    return dash + absolute(start, name.removeprefix("-"))


def _check_placeholders(
    table: Table, key: str, command: Sequence[str], listeners: Mapping[str, Listen]
) -> None:
    """Check that {fd} and {fd:NAME} mean one listener, if all listeners could be read."""
    if not listeners or UNREADABLE in listeners:
        return
    each = ", ".join(f"{{fd:{name}}}" for name in listeners)
    for word in command:
        for found in _PLACEHOLDER.finditer(word):
            name, closed = found[1], found[2]
            if name is None and len(listeners) > 1:
                table.wrong(key, found[0], f"one of {each}: there are several listeners")
            elif name is not None and (name not in listeners or not closed):
                table.wrong(key, found[0], f"a listener, closed with a brace: {each}")


def _signals(value: object) -> tuple[str, ...]:
    names = values.strings('["SIGUSR1"]')(value)
    if not set(names) <= set(FORWARDABLE):
        raise ValueError(
            f"any of {', '.join(FORWARDABLE)}: the other signals have a meaning for the supervisor"
            " (SIGHUP reloads, SIGUSR2 re-executes it, SIGTERM, SIGINT and SIGQUIT stop) or for the"
            " kernel"
        )
    return tuple(dict.fromkeys(names))


# -- variables --------------------------------------------------------------------------------


def _names(own: Mapping[str, str]) -> Callable[[object], tuple[str, ...]]:
    """Read names of variables to pass on. `own`: the variables that the file sets."""

    def read(value: object) -> tuple[str, ...]:
        names = values.strings('["DATABASE_URL"]')(value)
        for name in (one.removeprefix("-") for one in names):
            if not _NAME.fullmatch(name):
                allowed = "names of letters, digits and underscores that do not begin with a digit"
                raise ValueError(f'{allowed}, such as "DATABASE_URL". Patterns are not supported')
            if _SET_BY_US.fullmatch(name):
                raise ValueError(f"names other than {name}, which the supervisor sets itself")
            if name in own:
                raise ValueError(f"names other than {name}, which [app.environment] sets")
        return names

    return read


def _variable(name: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        return _literal(values.variable(name)(value))

    return read


def _words(value: object) -> tuple[str, ...]:
    """Read the command. A word with program text, as after `sh -c`, may contain any dollars."""
    words = values.command(value)
    before = ("", *words)
    return tuple(
        word if _PROGRAM_FOLLOWS.fullmatch(one) else _literal(word)
        for one, word in zip(before, words, strict=False)
    )


def _literal(text: str) -> str:
    """Return the text unchanged. Raises ValueError if it looks like a reference to a variable.

    A password may contain a dollar, so only text that is almost certainly a reference is refused.
    """
    wanted = _BRACED.search(text) or _WHOLE.fullmatch(text) or _COMMON.search(text)
    if wanted is None:
        return _ESCAPED.sub(r"\1", text)
    raise PartWrong(
        wanted[1] if wanted.re is _WHOLE else wanted[0],
        "literal text, because variables are not expanded here. To give workers a variable"
        " of the daemon's environment, name it in [app] pass_environment. To give them other"
        " values, use a file in [app] environment_files. For a literal"
        ' "${NAME}" write "$${NAME}"',
    )
