"""Logs by structlog: to the journal with its own fields, or to stdout, for eyes or as JSON."""

import contextlib
import logging as stdlib
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from wssupervisor.systemd_protocol import journal_send

MESSAGE_IDS = {
    "started": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a301",
    "reload-begun": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a302",
    "reload-failed": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a303",
    "cutover": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a304",
    "worker-exited": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a305",
    "worker-silent": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a306",
    "worker-mute": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30c",
    "generation-retired": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a307",
    "drain-limit": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a308",
    "re-executed": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a309",
    "recovered": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30a",
    "left": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30d",
    "joined": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30e",
    "emptied": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30f",
    "leave-limit": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a310",
    "stopped": "0b8e5f4f1d7a4c0e9d5c1a7be2f6a30b",
}
"""Fixed for good: `journalctl MESSAGE_ID=...`."""

JOURNAL_FIELDS = {
    "instance": "WSS_INSTANCE",
    "generation": "WSS_GENERATION",
    "pid": "WSS_WORKER_PID",
    "reload": "WSS_RELOAD",
}
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
EVENT_COLUMNS = 20
FORMATS = ("auto", "journal", "json", "console")
LEVELS = ("debug", "info", "warning", "error")

Event = MutableMapping[str, Any]


def configure(form: str, level: str, instance: str) -> None:
    """Set structlog up for the process. `form` is one of FORMATS, `level` one of LEVELS."""
    if form == "auto":
        form = "journal" if _stderr_is_journal() else "console"
    common: list[Any] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    factory: Any = _StdoutLogger
    match form:
        case "journal":
            common += [structlog.processors.format_exc_info, _to_journal]
            factory = _JournalLogger
        case "json":
            common += [stamp, structlog.processors.format_exc_info]
            common.append(structlog.processors.JSONRenderer())
        case _:
            clock = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
            colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
            # By position: the first parameter's name differs between structlog's versions. Where
            # rich is there structlog would show what is in variables, secrets among them.
            plain = structlog.dev.plain_traceback
            console = structlog.dev.ConsoleRenderer(
                EVENT_COLUMNS, colors, exception_formatter=plain
            )
            common += [_for_eyes, clock, console]
    structlog.configure(
        processors=common,
        wrapper_class=structlog.make_filtering_bound_logger(
            stdlib.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(instance=instance)


def _for_eyes(_logger: Any, _method: str, event: Event) -> Event:
    """On a terminal: no field that says the same on each line; a worker's own words stand out."""
    event.pop("instance", None)
    if event.pop("kind", None) == "output":
        event["event"] = _words_of_worker(event)
        event.pop("pid", None)
        event.pop("generation", None)
    return event


def _words_of_worker(event: Event) -> str:
    """Which worker of which generation, and what it wrote."""
    return f"{event.pop('worker')} | {event['event']}"


def _stderr_is_journal() -> bool:
    """$JOURNAL_STREAM names the very socket that is our standard error (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    if not inode:
        return False
    found = os.fstat(sys.stderr.fileno())
    return (str(found.st_dev), str(found.st_ino)) == (device, inode)


def _to_journal(_logger: Any, method: str, event: Event) -> tuple[tuple[str], Mapping[str, str]]:
    """The message reads like the console's; what can be searched for is a field, too."""
    event.pop("level", None)
    kind = str(event.pop("kind", event["event"]))
    fields = {"PRIORITY": str(PRIORITIES.get(method, 6)), "SYSLOG_IDENTIFIER": "wssupervisor"}
    if kind in MESSAGE_IDS:
        fields["MESSAGE_ID"] = MESSAGE_IDS[kind]
    for name, field in JOURNAL_FIELDS.items():
        if event.get(name) is not None:
            fields[field] = str(event[name])
    if kind == "output":
        return (_words_of_worker(event),), fields
    event.pop("instance", None)
    text, traceback = event.pop("event"), event.pop("exception", None)
    details = " ".join(f"{name}={value}" for name, value in event.items() if value is not None)
    lines = [f"{text} {details}".strip()]
    if traceback is not None:
        lines.append(traceback)
    return ("\n".join(lines),), fields


class _StdoutLogger:
    """One line a call. Whoever read them may have gone: that must not end what serves.

    Not by print(): what it could not write, Python would try to write again at exit, and make that
    the exit status.
    """

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), f"{message}\n".encode(errors="backslashreplace"))

    debug = info = warning = error = critical = msg


class _JournalLogger:
    """structlog's last stop: one journal entry a call."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, message: str, **fields: str) -> None:
        journal_send(message, **fields)

    debug = info = warning = error = critical = msg
