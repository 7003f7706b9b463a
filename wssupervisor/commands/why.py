"""why: what keeps a generation alive"""

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress

from wssupervisor.control.client import Client, DaemonError
from wssupervisor.control.documents import Estimate, Why, WhyDrain, WhyHelper
from wssupervisor.control.verbs import STATUS, WHY, Empty, WhyRequest
from wssupervisor.durations import format_duration
from wssupervisor.harmless import harmless
from wssupervisor.plural import count

EXAMPLES = """\
Lists the connections of a generation by peer address, with their idle times and the age of the
oldest one. An age counts from the first time that the supervisor saw the connection, so the
connection may be older. The estimate assumes exponential decay since the start of the drain. It is
"unknown" until at least 10 connections have closed and 30 s have passed.

examples:
  wssctl why
  wssctl why 6
  wssctl -i chat why 6 --json | jq '.peers[0]'
"""

GENERATIONS_MAX = 100
"""At most this many are asked for, because all answers are held in memory."""
PEERS_SHOWN = 15
EMPTY = "now, it has no connections"
HEADINGS = ("PEER", "CONNECTIONS", "OLDEST", "IDLE FOR")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "generation",
        type=int,
        nargs="?",
        help="number of the generation, as in wssctl status (default: each one that drains)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object; without a generation, a list of them",
    )


def run(given: argparse.Namespace, client: Client) -> int:
    if given.generation is None:
        return _each_drain(client, json_wanted=given.json)
    document = client.ask(WHY, WhyRequest(generation=given.generation))
    print(json.dumps(document, indent=1) if given.json else client.hint(_text(document)))
    return 0


def _each_drain(client: Client, *, json_wanted: bool) -> int:
    generations = client.ask(STATUS, Empty())["generations"]
    found = []
    for one in generations[:GENERATIONS_MAX]:
        if "drain" in one:
            with suppress(DaemonError):  # it has ended by now
                found.append(client.ask(WHY, WhyRequest(generation=one["number"])))
    if json_wanted:
        print(json.dumps(found, indent=1))
    elif found:
        print(client.hint("\n\n".join(_text(document) for document in found)))
    else:
        commands = " or ".join(f"wssctl why {one['number']}" for one in generations)
        others = f". To show another one: {commands}" if commands else ""
        print(client.hint(f"no generation is draining{others}"))
    return 0


def _text(document: Why) -> str:
    return "\n".join(harmless(one, kept="") for one in render(document))


def render(document: Why) -> Iterator[str]:
    """The document as lines of text."""
    number, drain = document["generation"], document["drain"]
    what = f"generation {number} ({document['release']}) is {document['state']}"
    if drain is not None:
        since = format_duration(drain["seconds"])
        what += f" for {since}: {drain['connections_at_start']} ->"
        what += f" {count(document['connections'], 'connection')}"
    yield what
    for reason in document["reasons"]:
        yield f"  reason: {reason}"
    if drain is not None:
        yield f"  limit: {_limit(drain)}"
        empty = _estimate(document["estimate"]) if document["connections"] else EMPTY
        yield f"  empty: {empty}"
    yield ""
    for worker in document["workers"]:
        queued = f", {worker['queued']} waiting" if worker["queued"] else ""
        counts = (
            "" if worker["reported"] is None else f" ({worker['reported']} reported by its library)"
        )
        yield (
            f"  worker {worker['index']}, pid {worker['pid'] or '-'}, {worker['state']}:"
            f" {count(worker['connections'], 'connection')}{counts}{queued}"
        )
    yield from _helpers(document["helpers"])
    if document["peers"]:
        yield ""
        yield from _peers(document)
    if drain is not None and document["connections"]:
        yield ""
        yield f"  to end it sooner: wssctl drain {number} --within 10min"


def _helpers(helpers: list[WhyHelper]) -> Iterator[str]:
    """Processes that hold sockets of clients that have closed: uncounted, but worth a look."""
    for helper in helpers:
        uncounted = helper["connections"] - helper["counted"]
        if uncounted:
            yield (
                f"  pid {helper['pid']} ({helper['command']}) holds {count(uncounted, 'socket')} of"
                " clients that have closed; these are not counted"
            )


def _limit(drain: WhyDrain) -> str:
    if drain["paused"]:
        return "paused"
    left = drain["seconds_left"]
    if left is None:
        return "none; it ends when its last connection has closed"
    if drain["closing"]:
        return f"reached; connections are being closed, the last ones in {_span(left)}"
    if drain["closes_on_request"]:
        return f"in {_span(left)}; its workers close their connections before"
    return f"in {_span(left)}; its workers get SIGTERM then"


def _estimate(estimate: Estimate) -> str:
    seconds = estimate["empty_in_seconds"]
    if seconds is None:
        return f"unknown ({estimate['unknown']})"
    half = format_duration(estimate["half_life_seconds"])
    about = format_duration(seconds)
    return f"in about {about} (half of the remaining connections close every {half})"


def _peers(document: Why) -> Iterator[str]:
    rows = [HEADINGS]
    for peer in document["peers"][:PEERS_SHOWN]:
        low, high = _span(peer["idle_seconds_min"]), _span(peer["idle_seconds_max"])
        oldest = "-" if peer["oldest_seconds"] is None else f">{_span(peer['oldest_seconds'])}"
        idle = low if low == high else f"{low} - {high}"
        rows.append((peer["address"], str(peer["connections"]), oldest, idle))
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    for address, number, oldest, idle in rows:
        cells = (address.ljust(widths[0]), number.rjust(widths[1]), oldest.rjust(widths[2]), idle)
        yield "  " + "  ".join(cells)
    more = len(document["peers"]) - PEERS_SHOWN + document["peers_left_out"]
    if more > 0:
        yield f"  and {more} more (--json has the first 50)"


def _span(seconds: float) -> str:
    return format_duration(max(0.0, seconds))
