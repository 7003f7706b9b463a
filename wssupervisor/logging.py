"""Logs with structlog: to the journal with its own fields, or to stdout, as text or JSON.

Records are made in the calling thread and written by another one (log_writer): logging never blocks
and never fails, whatever happens to the reader.
"""

import io
import json
import logging as stdlib
import math
import os
import stat
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO, cast

from wssupervisor import journal
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.harmless import harmless
from wssupervisor.log_allowance import Allowance
from wssupervisor.log_limit import SECONDS as LIMIT_SECONDS
from wssupervisor.log_limit import LineLimit
from wssupervisor.log_writer import Dropped, JournalSink, Record, StdoutSink, Writer
from wssupervisor.plain_structlog import structlog

MESSAGE_IDS = {kind.value: kind.message_id for kind in NoteKind if kind.message_id is not None}
"""By the event's kind, for `journalctl MESSAGE_ID=…`."""

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

NULL_DEVICE = os.makedev(1, 3)
PLACE = "%what-a-worker-wrote%"
"""Stands for a worker's line in an entry. Long enough that structlog adds no padding."""
UNWRITTEN = "WSSUPERVISOR_UNWRITTEN"
"""Variable: the number of lines that the program before an upgrade could not write."""

Event = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Log:
    """The setup by `configure`."""

    writer: Writer
    level: int
    form: str
    process: Callable[[str, Event], Record]
    """Run an event through all processors, as if logged at that level."""


_log: _Log | None = None
_limit = LineLimit()


def configure(form: str, level: str, instance: str) -> None:
    """Set up structlog for the process. `form` is one of FORMATS, `level` one of LEVELS."""
    global _log  # noqa: PLW0603 - structlog's configuration is also global
    if form == "auto":
        form = "journal" if _journal_is_meant() else "console"
    processors = _processors(form)

    def process(method: str, event: Event) -> Record:
        found: Any = structlog.contextvars.merge_contextvars(None, method, event)
        for one in processors[1:]:
            found = one(None, method, found)
        record: Record = found[0][0]
        return record

    sink = JournalSink() if form == "journal" else StdoutSink()
    allowance = Allowance(time.monotonic()) if form == "journal" else None
    writer = Writer(sink, lambda dropped: _missing(process, dropped), allowance)
    number = stdlib.getLevelNamesMapping()[level.upper()]
    _log = _Log(writer, number, form, process)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_QueueLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(instance=instance)
    stdlib.getLogger().addHandler(_FromStdlib(stdlib.WARNING))
    before = os.environ.pop(UNWRITTEN, "0")
    if before.isdecimal() and int(before):
        writer.drop(int(before))


def _processors(form: str) -> list[Any]:
    common: list[Any] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    match form:
        case "journal":
            return [*common, structlog.processors.format_exc_info, _harmless, _to_journal]
        case "json":
            common += [stamp, structlog.processors.format_exc_info]
            return [*common, structlog.processors.JSONRenderer(), _to_record]
        case _:
            clock = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
            colors = sys.stdout.isatty() and "NO_COLOR" not in os.environ
            # By position: the name of the first parameter differs between structlog's versions.
            # With rich, structlog would show the values of variables, secrets among them.
            console = structlog.dev.ConsoleRenderer(
                EVENT_COLUMNS, colors, exception_formatter=_traceback
            )
            return [*common, _harmless, _for_eyes, clock, console, _to_record]


def _harmless(_logger: Any, _method: str, event: Event) -> Event:
    """Make names and reasons of releases, clients and other processes safe to show."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = harmless(value)
    return event


def _traceback(stream: TextIO, error: Any) -> None:
    own = io.StringIO()
    structlog.dev.plain_traceback(own, error)
    stream.write(harmless(own.getvalue()))


def pass_on(
    pieces: Sequence[tuple[Sequence[str], Callable[[], None]]],
    *,
    worker: str,
    generation: int,
    pid: int,
) -> None:
    """Log output of a worker in bulk, because a call for each line would cost the loop too much.

    `pieces`: lines, each with what is called after they are written, by the thread that writes.
    """
    own = {"kind": "output", "generation": generation, "worker": worker, "pid": pid}
    if _log is None or _log.level > stdlib.INFO:
        for lines, written in pieces:
            for line in lines if _log is None else ():
                structlog.get_logger().info(line, **own)
            written()
        return
    template = _log.process("info", {"event": PLACE, **own})
    head, tail = template.entry(template.lines[0]).split(PLACE.encode(), 1)
    tail = tail.replace(b" \n", b"\n") if _log.form == "console" else tail
    escape = _as_json if _log.form == "json" else _encoded

    def entry(line: str) -> bytes:
        return b"".join((head, escape(line), tail))

    for lines, written in pieces:
        _log.writer.put(Record(lines, entry, written=written), output=True)


def log_skipped(skipped: int, *, worker: str, generation: int) -> None:
    """Log how much output of a worker is missing, at its place among the worker's lines."""
    if _log is None or _log.level > stdlib.WARNING:
        return
    event = {
        "event": "output skipped",
        "worker": worker,
        "generation": generation,
        "bytes": skipped,
        "why": "the worker writes faster than the log takes it",
    }
    _log.writer.put(_log.process("warning", event), output=True)


def limited(level: str, event: str, by: Mapping[str, str], **details: Any) -> None:
    """Log an event that others can cause at will: a limited number of lines for event and `by`."""
    if _limit.admits((event, *by.items()), time.monotonic()):
        getattr(structlog.get_logger(), level)(event, **by, **details)


def log_suppressed(now: float) -> None:
    """Log the number of lines that `limited` has not logged, for events whose time is over."""
    for kind, lines in _limit.over(now):
        event, *by = cast(tuple[Any, ...], kind)
        structlog.get_logger().warning(
            "lines suppressed", of=event, lines=lines, seconds=LIMIT_SECONDS, **dict(by)
        )


def takes_output() -> bool:
    """Whether there is room for more output of workers. Otherwise it stays where it was written."""
    return _log is None or _log.writer.has_room()


def flush(within: float) -> int:
    """Write what is left before the program ends. Returns the number of unwritten lines."""
    if _log is None:
        return 0
    log_suppressed(math.inf)
    return _log.writer.flush(within)


def _missing(process: Callable[[str, Event], Record], dropped: Dropped) -> Record:
    event = {
        "event": "log lines dropped",
        "lines": dropped.lines,
        "since": dropped.since,
        "until": dropped.until,
        "why": "nothing read the log, or it could not be written",
    }
    made = process("warning", event)
    return Record(made.lines, made.entry, dropped)


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def _as_json(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


def _to_record(_logger: Any, _method: str, text: str) -> tuple[tuple[Record], Mapping[str, str]]:
    return (Record((text,), lambda line: _encoded(f"{line}\n")),), {}


def _for_eyes(_logger: Any, _method: str, event: Event) -> Event:
    """For a terminal: drop fields that are the same on each line; make worker output stand out."""
    event.pop("instance", None)
    if event.pop("kind", None) == "output":
        event["event"] = _words_of_worker(event)
        event.pop("pid", None)
        event.pop("generation", None)
    return event


def _words_of_worker(event: Event) -> str:
    """Return the worker and its line."""
    return f"{event.pop('worker')} | {event['event']}"


def _journal_is_meant() -> bool:
    """Whether $JOURNAL_STREAM names our standard error (systemd.exec(5)).

    While the journal is down, systemd starts a service with /dev/null instead.
    """
    try:
        found = os.fstat(2)
    except OSError:
        return False
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    if inode:
        return (str(found.st_dev), str(found.st_ino)) == (device, inode)
    null = stat.S_ISCHR(found.st_mode) and found.st_rdev == NULL_DEVICE
    return null and "INVOCATION_ID" in os.environ and "NOTIFY_SOCKET" in os.environ


def _to_journal(_logger: Any, method: str, event: Event) -> tuple[tuple[Record], Mapping[str, str]]:
    """Make a message like that of the console. Searchable values are also fields."""
    event.pop("level", None)
    kind = str(event.pop("kind", event["event"]))
    fields = {"PRIORITY": str(PRIORITIES.get(method, 6)), "SYSLOG_IDENTIFIER": "wssupervisor"}
    if kind in MESSAGE_IDS:
        fields["MESSAGE_ID"] = MESSAGE_IDS[kind]
    for name, field in JOURNAL_FIELDS.items():
        if event.get(name) is not None:
            fields[field] = str(event[name])
    if kind == "output":
        text = _words_of_worker(event)
    else:
        event.pop("instance", None)
        text, traceback = event.pop("event"), event.pop("exception", None)
        details = " ".join(f"{name}={value}" for name, value in event.items() if value is not None)
        text = f"{text} {details}".strip()
        if traceback is not None:
            text = f"{text}\n{traceback}"
    head = journal.fields(fields)
    return (Record((text,), lambda line: head + journal.fields({"MESSAGE": line})),), {}


class _QueueLogger:
    """The last stage of structlog: passes the record to the writer."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, record: Record) -> None:
        if _log is not None:
            _log.writer.put(record)

    debug = info = warning = error = critical = msg


class _FromStdlib(stdlib.Handler):
    """Logs warnings of asyncio, which would otherwise block on standard error."""

    def emit(self, record: stdlib.LogRecord) -> None:
        try:
            error = record.exc_info if record.exc_info and record.exc_info[0] else None
            log = structlog.get_logger()
            say = log.error if record.levelno >= stdlib.ERROR else log.warning
            say(record.getMessage(), logger=record.name, **({"exc_info": error} if error else {}))
        except Exception:  # noqa: BLE001 - logging must not fail
            return
