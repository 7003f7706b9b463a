"""The status of an instance as lines that fit a terminal: what `wssctl status` shows.

If there are too many, the least important are left out: first the workers of old generations, then
the progress of their drains, then healthy workers, then the oldest generations.
"""

import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from wssupervisor.commands.sentences import closing, one_line, sentence, style
from wssupervisor.commands.terminal import Line, Span, Style, clipped, length, line
from wssupervisor.commands.times import clock, zone
from wssupervisor.control.documents import (
    Drain,
    Event,
    Generation,
    LastReload,
    Listener,
    OutOfRotation,
    Status,
    Worker,
)
from wssupervisor.control.hints import addressed
from wssupervisor.durations import format_duration
from wssupervisor.plural import count

EVENTS_MIN = 3
"""Lines for recent events; other lines are left out before these."""
EVENTS_WITHOUT_SCREEN = 5
EVENTS_MAX = 50
REASON_LINES = 3
WIDE = 100
BAR = {False: 26, True: 40}
"""Columns of a bar, on a narrow and on a wide screen."""

STATES = {
    "serving": Style.GOOD,
    "active": Style.GOOD,
    "ready": Style.PLAIN,
    "reloading": Style.BUSY,
    "starting": Style.BUSY,
    "draining": Style.BUSY,
    "stopping": Style.WARNING,
    "waiting": Style.WARNING,
    "degraded": Style.BAD,
    "stalled": Style.BAD,
    "failed": Style.BAD,
}


@dataclass(frozen=True, slots=True)
class Size:
    """Size of the output; without `lines` both length and width are unlimited."""

    columns: int = 80
    lines: int | None = None
    unicode: bool = True

    @property
    def wide(self) -> bool:
        return self.columns >= WIDE

    @property
    def more(self) -> str:
        return "…" if self.unicode else "..."


class Detail(IntEnum):
    """How much is left out; each leaves out what the one before does, and more."""

    ALL = 0
    NO_OLD_WORKERS = 1
    NO_BARS = 2
    NO_HEALTHY_WORKERS = 3


def screen(document: Status, events: Sequence[Event], size: Size, chosen: str = "") -> list[Line]:
    """Return as many lines as fit, leaving out the least important.

    `chosen`: the options of wssctl that name this instance in hints.
    """
    found: list[Line] = []
    wanted = min(EVENTS_MIN, len(events)) + 2
    for detail, generations in _ever_less(len(document["generations"])):
        found = list(_fixed(document, size, chosen, detail, generations))
        if size.lines is None or len(found) + wanted <= size.lines:
            break
    room = EVENTS_WITHOUT_SCREEN if size.lines is None else size.lines - len(found) - 2
    if room > 0 and events:
        found += [(), line(Span(f"  RECENT EVENTS ({zone()})", Style.FAINT))]
        found += [_event(one, chosen) for one in events[-room:]]
    if size.lines is not None:
        found = [clipped(one, size.columns, size.more) for one in found[: size.lines]]
    return found


def _ever_less(generations: int) -> Iterator[tuple[Detail, int]]:
    for detail in Detail:
        yield detail, generations
    for fewer in range(generations - 1, 0, -1):
        yield Detail.NO_HEALTHY_WORKERS, fewer


def headline(document: Status) -> Line:
    """The instance in one line."""
    connections = sum(one["connections"] for one in document["generations"])
    uptime = format_duration(document["uptime_seconds"])
    return line(
        Span(document["name"], Style.TITLE),
        "  ",
        _state(document["state"]),
        f"  pid {document['pid']}, up {uptime}, {count(connections, 'connection')}",
    )


def _fixed(
    document: Status, size: Size, chosen: str, detail: Detail, generations: int
) -> Iterator[Line]:
    """Yield all lines except those of events."""
    yield headline(document)
    for one in document["listeners"]:
        yield _listener(one)
    if document["workers_wanted"] != document["workers_configured"]:
        yield line(
            f"  scaled to {count(document['workers_wanted'], 'worker')} (the configuration has"
            f" {document['workers_configured']})"
        )
    if out := document["out_of_rotation"]:
        yield line("  ", Span(_out(out), Style.WARNING))
    if document["waits_for"]:
        yield line("  ", Span(f"waiting: {document['waits_for']}", Style.BUSY))
    yield ()
    yield from _generations(document["generations"][:generations], size, detail)
    left_out = document["generations"][generations:]
    if left_out:
        connections = sum(one["connections"] for one in left_out)
        yield line(f"  and {len(left_out)} more, with {count(connections, 'connection')}")
    remarks = [text for one in document["generations"] for text in _remarks(one)]
    for text in remarks:
        yield line("  ", Span(addressed(text, chosen), Style.WARNING))
    yield ()
    yield from _last_reload(document["last_reload"], size, chosen)


def _out(out: OutOfRotation) -> str:
    """Describe since when new clients go elsewhere, and what happens to open connections."""
    text = f"out of its load balancer for {format_duration(max(0.0, _ago(out['since'])))}"
    by = f" (requested by {out['by']})" if out["by"] else ""
    if not out["connections"]:
        return f"{text}: no connection is left{by}"
    closes = closing(out, -_ago(out["closes_from"]))
    return f"{text}: {count(out['connections'], 'connection')}, {closes}{by}"


def _state(state: str) -> Span:
    return Span(state, STATES.get(state, Style.PLAIN))


def _listener(listener: Listener) -> Line:
    mode = listener["mode"] + (f" ({listener['mode_reason']})" if listener["mode_reason"] else "")
    if listener["balance"] == "client":
        mode += " by client address"
    if not listener["survives_supervisor"] and listener["mode"] != "shared":
        mode += " while the supervisor runs"
    begin = f"  {listener['name']}  {listener['address']}  {mode}"
    queued = Span(f", {listener['queued']} waiting" if listener["queued"] else "", Style.WARNING)
    if listener["mode"] == "shared":
        return line(begin, queued)
    before = (
        f"; {listener['slots_before']} before its last start" if listener["slots_before"] else ""
    )
    return line(
        f"{begin}, {listener['slots']} slots ({listener['free_slots']} free)",
        queued,
        Span(before, Style.WARNING),
    )


# -- generations -------------------------------------------------------------------------------


def _generations(generations: Sequence[Generation], size: Size, detail: Detail) -> Iterator[Line]:
    shown = [(one, _shown_workers(one, detail)) for one in generations]
    rows = [_cells(worker) for _, workers in shown for worker in workers]
    headings = _headings(size)
    widths = [max(len(row[at]) for row in [headings, *rows]) for at in range(len(headings))]
    headed = False
    for one, workers in shown:
        yield _title(one, size, with_release=detail < Detail.NO_BARS or "drain" not in one)
        if "drain" in one and detail < Detail.NO_BARS:
            yield _drain(one["connections"], one["drain"], size)
        if workers and not headed:
            yield line(Span(_row(headings, widths), Style.FAINT))
            headed = True
        for worker in workers:
            name, *rest = _cells(worker)
            style = STATES.get(worker["state"], Style.PLAIN) if "drain" not in one else Style.PLAIN
            yield line(
                "    ",
                Span(name.ljust(widths[0]), style),
                _row(["", *rest], widths)[4 + widths[0] :],
            )
        if detail >= Detail.NO_HEALTHY_WORKERS and "drain" not in one:
            healthy = len(one["workers"]) - len(workers)
            yield line(f"    {count(healthy, 'worker')} ready")


def _shown_workers(generation: Generation, detail: Detail) -> list[Worker]:
    if detail >= Detail.NO_OLD_WORKERS and (
        "drain" in generation or generation["state"] == "failed"
    ):
        return []
    return [
        worker
        for worker in generation["workers"]
        if detail < Detail.NO_HEALTHY_WORKERS or worker["state"] != "ready"
    ]


def _title(generation: Generation, size: Size, *, with_release: bool) -> Line:
    drain = generation.get("drain")
    if drain is None:
        since = format_duration(
            max(0.0, _ago(generation["active_since"] or generation["started_at"]))
        )
        what = f" for {since}: {count(generation['connections'], 'connection')}"
    else:
        since = format_duration(max(0.0, _ago(drain["since"])))
        what = (
            f" for {since}: {drain['connections_at_start']} ->"
            f" {count(generation['connections'], 'connection')}"
        )
    begin = line(
        "  ",
        Span(f"generation {generation['number']}", Style.TITLE),
        "  ",
        _state(generation["state"]),
        what,
    )
    if not with_release:
        return begin
    release = generation["release"]
    room = size.columns - length(begin) - 2
    if size.lines is not None and len(release) > room:
        kept = room - len(size.more)
        release = size.more + release[-kept:] if kept > 0 else ""
    return (*begin, Span(f"  {release}", Style.FAINT))


def _drain(connections: int, drain: Drain, size: Size) -> Line:
    """Describe how much of a drain is done, and when it may be over."""
    at_start = drain["connections_at_start"]
    share = 1.0 if not at_start else max(0.0, 1 - connections / at_start)
    columns = BAR[size.wide]
    full = int(share * columns)
    done, to_do = ("█", "░") if size.unicode else ("#", "-")
    return line(
        "    ",
        Span(done * full, Style.BUSY),
        Span(to_do * (columns - full), Style.FAINT),
        f" {int(100 * share):>3}%  {_outlook(connections, drain)}",
    )


def _outlook(connections: int, drain: Drain) -> str:
    seconds = drain["estimate"]["empty_in_seconds"]
    if drain["paused"]:
        return "paused"
    if not connections:
        kept = -_ago(drain["keep_until"]) if drain["keep_until"] else 0.0
        text = f"empty, kept for {format_duration(kept)} more" if kept > 1 else "empty, ends now"
    elif seconds is None:
        text = "no estimate yet"
    else:
        text = f"empty in about {format_duration(seconds)}"
    if drain["deadline"]:
        text += f", limit in {format_duration(max(0.0, -_ago(drain['deadline'])))}"
    return text


def _headings(size: Size) -> list[str]:
    connections = "CONNECTIONS" if size.wide else "CONN"
    return ["WORKER", "PID", connections, "QUEUED", "MEMORY", "CPU", "UP", "RESTARTS"]


def _cells(worker: Worker) -> list[str]:
    memory = "-" if worker["rss_bytes"] is None else f"{worker['rss_bytes'] / 2**20:.0f} MB"
    cpu = "-" if worker["cpu_percent"] is None else f"{worker['cpu_percent']:.0f}%"
    up = worker["uptime_seconds"]
    return [
        f"{worker['index']} {worker['state']}" + (" sweeper" if worker["sweeper"] else ""),
        str(worker["pid"] or "-"),
        str(worker["connections"]),
        str(worker["queued"]),
        memory,
        cpu,
        "-" if up is None else format_duration(up),
        str(worker["restarts"]),
    ]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *rest = (
        cell.ljust(width) if at == 0 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "    " + "  ".join([name, *rest])


def _remarks(generation: Generation) -> Iterator[str]:
    """Yield what an operator should look at in this generation."""
    number = generation["number"]
    if generation["shares_slots"]:
        yield f"generation {number}: workers share slots, because too few were free"
    for worker in generation["workers"]:
        name = f"worker {worker['index']} of generation {number}"
        if "retry_at" in worker:
            wait = format_duration(max(0.0, -_ago(worker["retry_at"])))
            why = f": the last one {worker['reason']}" if "reason" in worker else ""
            yield f"{name} will be restarted in {wait}{why}"
        if worker["still_listens"]:
            yield f"{name} still listens, so it may get new connections and will not end by itself."
            yield f"  To end it with its connections: wssctl drain {number} --within 0s"
        if worker["unresponsive_seconds"] is not None:
            silence = format_duration(worker["unresponsive_seconds"])
            yield f"{name} has sent no heartbeat for {silence}: new connections go to other workers"
        if worker["state"] == "stalled":
            yield f"{name}: {worker.get('reason', 'stalled')}"


# -- the last reload, and events ---------------------------------------------------------------


def _last_reload(last: LastReload | None, size: Size, chosen: str) -> Iterator[Line]:
    if last is None:
        yield line("  no reload yet")
        return
    when = format_duration(max(0.0, _ago(last["started_at"]) - last["seconds"]))
    what = "rollback" if last["kind"] == "rollback" else "reload"
    begin = f"last {what} {last['id']}, {when} ago"
    if last["ok"]:
        took = format_duration(last["seconds"])
        text = f": generation {last['generation']} is active (took {took})"
        yield line(f"  {begin}", Span(text, Style.GOOD))
        return
    reason = addressed(one_line(str(last["reason"])), chosen)
    text = f"{begin}, FAILED: {reason}"
    if size.lines is None:
        yield line("  ", Span(text, Style.BAD))
        return
    for part in textwrap.wrap(text, size.columns - 4, max_lines=REASON_LINES):
        yield line("  ", Span(part, Style.BAD))


def _event(note: Event, chosen: str) -> Line:
    text = addressed(sentence(note), chosen)
    return line("  ", Span(clock(note["at"]), Style.FAINT), "  ", Span(text, style(note)))


def _ago(stamp: str) -> float:
    """Seconds since an ISO 8601 instant; negative for a later one."""
    return time.time() - datetime.fromisoformat(stamp).astimezone(UTC).timestamp()
