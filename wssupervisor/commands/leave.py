"""leave: the request, and the wait until no connection is left"""

import argparse
import json
import math
import sys
import time
from datetime import UTC, datetime

from wssupervisor.commands.progress import ProgressLine
from wssupervisor.commands.sentences import closing
from wssupervisor.commands.terminal import Span, Style, line
from wssupervisor.control.client import Client, Gone
from wssupervisor.control.verbs import LEAVE, Leave, LeaveEvent, LeaveRequest
from wssupervisor.durations import format_duration, parse_duration
from wssupervisor.errors import NotRunning, UsageError
from wssupervisor.plural import count

EXAMPLES = """\
The health page (/readyz) fails and the agent answers "drain", so that the load balancer sends new
clients to other hosts. Connections that arrive anyway are served. After the lead, which must be
longer than the load balancer takes to notice, workers that use the library are asked to close their
connections, spread over [drain] close_over, and again while some are left. For the connections of
other workers, leave only waits. No worker is stopped: at the limit, leave fails and reports how
many connections are left. The instance stays out, across reloads and upgrades, until `wssctl join`
or a restart.

Ctrl-C stops waiting, not the leave. Run the command again to keep waiting, with new limits.

examples:
  wssctl leave --within 10min && wssctl reload && wssctl join
  wssctl -i chat leave --lead 30s --no-wait
"""

RETRY_WITHIN = 10.0
"""Seconds for another supervisor to answer, after one that died or was upgraded during the wait."""
RETRY_EVERY = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lead",
        metavar="SPAN",
        default="10s",
        help="time before the first connections are asked to close (default: 10s)",
    )
    parser.add_argument(
        "--within",
        metavar="SPAN",
        default="infinity",
        help="fail if connections are left after this time (default: infinity)",
    )
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="wait until no connection is left (default: --wait)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(given: argparse.Namespace, client: Client) -> int:
    until = time.monotonic() + _seconds("--within", given.within)
    _seconds("--lead", given.lead)
    progress = _Progress(wanted=not given.json)
    request: LeaveRequest = {"lead": given.lead, "within": given.within, "wait": given.wait}
    try:
        answer = _leave(client, request, until, progress)
    except KeyboardInterrupt:
        progress.clear()
        print(client.hint(f"wssctl: interrupted. {progress.state()}"), file=sys.stderr)
        raise
    finally:
        progress.clear()
    print(json.dumps(answer) if given.json else client.hint(_sentence(answer)))
    return 0


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: found {text!r}, {error}") from None


def _leave(client: Client, request: LeaveRequest, until: float, progress: "_Progress") -> Leave:
    """Ask until there is an answer; the successor of a supervisor is asked the same."""
    gone_at: float | None = None
    while True:
        heard = progress.events
        try:
            return client.ask(LEAVE, request, progress.event)
        except (Gone, NotRunning):
            if progress.events > heard:
                gone_at = None
            gone_at = gone_at or time.monotonic()
            if not progress.events or time.monotonic() - gone_at > RETRY_WITHIN:
                raise
            time.sleep(RETRY_EVERY)
        if not math.isinf(until):
            left = max(0.0, until - time.monotonic())
            request = {**request, "within": f"{left * 1000:.0f}ms"}


def _sentence(answer: Leave) -> str:
    if answer["empty"]:
        took = format_duration(answer["seconds"])
        return f"out of its load balancer for {took}, and no connection is left"
    left, out = count(answer["connections"], "connection"), answer["out_of_rotation"]
    closes = "" if out is None else f", {closing(out, answer['closes_in_seconds'])}"
    return (
        f"out of its load balancer, with {left}{closes}. See how many are left with: wssctl status"
    )


class _Progress(ProgressLine):
    """The progress line of a leave: how many connections are left."""

    def __init__(self, *, wanted: bool) -> None:
        super().__init__(wanted=wanted)
        self.events = 0

    def event(self, event: LeaveEvent) -> None:
        self.events += 1
        out = event["out_of_rotation"]
        if out is None:
            return
        since = format_duration(max(0.0, -_in(out["since"])))
        closes = closing(out, _in(out["closes_from"]))
        text = f"  out for {since}: {count(out['connections'], 'connection')}, {closes}"
        if out["limit"]:
            text += f", limit in {format_duration(max(0.0, _in(out['limit'])))}"
        self.show(line(Span(text, Style.BUSY)))

    def state(self) -> str:
        """Describe what continues after Ctrl-C has ended the wait."""
        if not self.events:
            return "See: wssctl status"
        return (
            "The instance stays out of its load balancer. Keep waiting with `wssctl leave`, or put"
            " it back with `wssctl join`"
        )


def _in(stamp: str) -> float:
    """Seconds until an ISO 8601 instant; negative for one in the past."""
    return datetime.fromisoformat(stamp).astimezone(UTC).timestamp() - time.time()
