"""leave: take the instance out of its load balancer, and wait until nobody is connected"""

import argparse
import json
import math
import sys
import time
from datetime import UTC, datetime
from typing import Any

from wssupervisor.commands.sentences import count
from wssupervisor.commands.terminal import (
    LiveLine,
    Span,
    Style,
    line,
)
from wssupervisor.control.client import Client, Gone
from wssupervisor.durations import format_duration, parse_duration
from wssupervisor.errors import NotRunning, UsageError

EXAMPLES = """\
Its health page (/readyz) fails and its agent says "drain", so that the load balancer sends new
clients to other hosts. Nothing is refused: who comes all the same is served. After the lead, which
must be longer than the load balancer takes to notice, the workers that use the library are asked to
close their connections, spread over [drain] close_over, and again as long as some are left; those
of other workers are waited for. Nobody is ended by this: at the limit it fails, and says how many
are left. It stays out, over reloads and upgrades, until `wssctl join`; a restart begins joined.

Ctrl-C ends the waiting only. Said again it waits on, with the limits then given.

examples:
  wssctl leave --within 10min && wssctl reload && wssctl join
  wssctl -i chat leave --lead 30s --no-wait
"""

RETRY_WITHIN = 10.0
"""Seconds for another supervisor to answer, after one that died, or was upgraded, while we wait."""
RETRY_EVERY = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lead", metavar="SPAN", default="10s", help="before the first close (default 10s)"
    )
    parser.add_argument(
        "--within", metavar="SPAN", default="infinity", help="wait no longer (default infinity)"
    )
    parser.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="until nobody is connected (default)",
    )
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    until = time.monotonic() + _seconds("--within", given.within)
    _seconds("--lead", given.lead)
    progress = _Progress(live=sys.stderr.isatty() and not given.json)
    params = {"lead": given.lead, "within": given.within, "wait": given.wait}
    try:
        answer = _leave(client, params, until, progress)
    except KeyboardInterrupt:
        progress.end()
        print(f"wssctl: interrupted; {progress.state()}", file=sys.stderr)
        raise
    finally:
        progress.end()
    print(json.dumps(answer) if given.json else _sentence(answer))
    return 0


def _seconds(option: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: found {text!r}, {error}") from None


def _leave(
    client: Client, params: dict[str, Any], until: float, progress: "_Progress"
) -> dict[str, Any]:
    """Ask until there is an answer: a program after that which was asked is asked the same."""
    gone_at: float | None = None
    while True:
        heard = progress.events
        try:
            return client.call("leave", params, progress.event)
        except (Gone, NotRunning):
            if progress.events > heard:
                gone_at = None
            gone_at = gone_at or time.monotonic()
            if not progress.events or time.monotonic() - gone_at > RETRY_WITHIN:
                raise
            time.sleep(RETRY_EVERY)
        if not math.isinf(until):
            left = max(0.0, until - time.monotonic())
            params = {**params, "within": f"{left * 1000:.0f}ms"}


def _sentence(answer: dict[str, Any]) -> str:
    if answer["empty"]:
        took = format_duration(answer["seconds"])
        return f"out of its load balancer for {took}, and nobody is connected any more"
    closes_in = answer["closes_in_seconds"]
    when = f"in {format_duration(closes_in)}" if closes_in else "now"
    return (
        f"out of its load balancer; {count(answer['connections'], 'connection')}, asked to close"
        f" {when}; how many are left: wssctl status"
    )


class _Progress:
    """On a terminal: one line that says how many are left."""

    def __init__(self, *, live: bool) -> None:
        self.events = 0
        self._line = LiveLine(live=live)

    def event(self, event: dict[str, Any]) -> None:
        self.events += 1
        out = event.get("out_of_rotation")
        if not self._line.live or out is None:
            return
        self.end()
        since = format_duration(max(0.0, -_in(out["since"])))
        text = f"  out for {since}: {count(out['connections'], 'connection')}, {_closing(out)}"
        if out["limit"]:
            text += f"; waits for {format_duration(max(0.0, _in(out['limit'])))} more"
        self._line.draw(line(Span(text, Style.BUSY)))

    def state(self) -> str:
        """What has become of it, for whoever waits no longer."""
        if not self.events:
            return "see `wssctl status`"
        return (
            "it stays out of its load balancer: `wssctl leave` waits on, `wssctl join` puts it back"
        )

    def end(self) -> None:
        self._line.erase()


def _closing(out: dict[str, Any]) -> str:
    begins = _in(out["closes_from"])
    if begins > 0:
        return f"asked to close in {format_duration(begins)}"
    others = out["waited_for"]
    return f"asked to close, but for {others}" if others else "asked to close"


def _in(stamp: str) -> float:
    """Seconds until an ISO 8601 instant; negative for one in the past."""
    return datetime.fromisoformat(stamp).astimezone(UTC).timestamp() - time.time()
