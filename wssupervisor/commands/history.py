"""history: past reloads and rollbacks, with the drain that each began"""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence

from wssupervisor.commands import recorded
from wssupervisor.commands.recorded import Place
from wssupervisor.commands.sentences import requester
from wssupervisor.commands.terminal import Line, Span, Style, length, line, show
from wssupervisor.commands.times import date_and_time
from wssupervisor.control.client import Client
from wssupervisor.control.documents import PastReload, ReloadDrain
from wssupervisor.control.verbs import HISTORY, HistoryRequest
from wssupervisor.durations import format_duration
from wssupervisor.plural import count

EXAMPLES = """\
Oldest first, including reloads before the daemon's last start (under systemd; otherwise only those
since its last clean stop). Times are local, with their offset from UTC; --json prints UTC. "forced"
counts connections closed because a limit or an operator ended the old workers, "lost" those of old
workers that crashed. All other connections were closed by their clients or by the server. If the
instance is not running, its record is read, if this user may read it.

examples:
  wssctl history
  wssctl history --since 7d
  wssctl -i chat history --json | jq -c 'select(.ok == false)'
"""

WIDTH = 80
INDENT = " " * 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", metavar="SPAN", help="print only reloads of the last SPAN, such as 10min or 7d"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(given: argparse.Namespace, client: Client) -> int:
    return _show(client.ask(HISTORY, HistoryRequest(since=given.since))["reloads"], given)


def run_without_daemon(given: argparse.Namespace, place: Place) -> int:
    return _show(recorded.reloads(place, given.since), given)


def _show(found: Sequence[PastReload], given: argparse.Namespace) -> int:
    if given.json:
        for past in found:
            print(json.dumps(past))
        return 0
    width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else None
    for past in found:
        show(part for whole in render(past) for part in _folded(whole, width))
    if not found:
        print("no reload yet" if given.since is None else f"no reload in the last {given.since}")
    return 0


def render(past: PastReload) -> Iterator[Line]:
    """Time, id and verdict; then the requester, the release, and the drain that it began."""
    what = "rollback" if past["kind"] == "rollback" else "reload"
    when = date_and_time(past["at"])
    yield line(
        Span(when, Style.FAINT), "  ", Span(f"{past['id']} {what}  ", Style.TITLE), _verdict(past)
    )
    for more in (past["reason"] or "").splitlines()[1:]:
        yield line(Span(f"{INDENT}{more}", Style.BAD))
    release = "" if past["release"] is None else f", release {past['release']}"
    yield line(f"{INDENT}by {_requester(past)}{release}")
    if past["drain"] is not None:
        drain = past["drain"]
        closed = bool(drain["forced"] or drain["lost"])
        text = f"{INDENT}generation {past['replaced']} {_drain(drain)}"
        yield line(Span(text, Style.WARNING if closed else Style.PLAIN))


def _folded(whole: Line, width: int | None) -> Iterator[Line]:
    """On several lines if it is too long for one; its last part is the long one."""
    if width is None or length(whole) <= width:
        yield whole
        return
    *begin, last = whole
    first, *rest = textwrap.wrap(
        " " * length(tuple(begin)) + last.text,
        width,
        subsequent_indent=INDENT * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield (*begin, Span(first[length(tuple(begin)) :], last.style))
    for text in rest:
        yield line(Span(text, last.style))


def _requester(past: PastReload) -> str:
    name = requester(past)
    return f"{name} (pid {past['by_pid']})" if name == past["by"] else name


def _verdict(past: PastReload) -> Span:
    if past["ok"] is None:
        return Span("running", Style.BUSY)
    took = "" if past["seconds"] is None else f" ({format_duration(past['seconds'])})"
    if not past["ok"]:
        first = (past["reason"] or "").partition("\n")[0]
        return Span(f"FAILED{took}: {first}", Style.BAD)
    return Span(f"generation {past['generation']} is active{took}", Style.GOOD)


def _drain(drain: ReloadDrain) -> str:
    had = "" if drain["connections"] is None else f" {count(drain['connections'], 'connection')}"
    match drain["state"]:
        case "draining":
            return f"is draining{', had' if had else ''}{had}"
        case "rolled-back-to":
            return "was rolled back to"
        case "cut-off":
            return _cut_off(drain, had)
    if drain["seconds"] is None:
        return "has drained"
    return (
        f"drained{had} in {format_duration(drain['seconds'])}:"
        f" {drain['forced']} forced, {drain['lost']} lost"
    )


def _cut_off(drain: ReloadDrain, had: str) -> str:
    """The instance stopped, or died for good, before the end of the drain."""
    if drain["seconds"] is None:
        return f"had not finished draining{had} when the instance ended"
    closed = (drain["forced"] or 0) + (drain["lost"] or 0)
    return (
        f"was cut short after {format_duration(drain['seconds'])}, when the instance stopped:"
        f" {closed} of {count(drain['connections'] or 0, 'connection')} closed"
    )
