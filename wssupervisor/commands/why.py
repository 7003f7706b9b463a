"""why: what keeps a generation alive: connections, limits, and when it may be empty"""

import argparse
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from wssupervisor.commands.sentences import count
from wssupervisor.control.client import Client, DaemonError
from wssupervisor.durations import format_duration
from wssupervisor.harmless import harmless

EXAMPLES = """\
Without a number: each generation that is draining. Shows the connections of a generation by peer
address, with the age of the oldest connection (at least: as long as it has been counted) and how
long each has been idle, from the kernel. The estimate is an exponential decay through the number of
connections at the beginning of the drain and now; it is "unknown" until at least ten have left, in
half a minute or more.

examples:
  wssctl why
  wssctl why 6
  wssctl -i chat why 6 --json | jq '.peers[0]'
"""

Document = dict[str, Any]
GENERATIONS_MAX = 100
"""Of which it is asked: each answer is held until all are there."""
PEERS_SHOWN = 15
EMPTY = "yes, it has no connections"
HEADINGS = ("PEER", "CONNECTIONS", "OLDEST", "IDLE FOR")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "generation",
        type=int,
        nargs="?",
        help="its number, as in wssctl status (default: each that is draining)",
    )
    parser.add_argument(
        "--json", action="store_true", help="the whole document; without a number, a list of them"
    )


def run(given: argparse.Namespace, client: Client) -> int:
    if given.generation is None:
        return _each_drain(client, json_wanted=given.json)
    document = client.call("why", {"generation": given.generation})
    print(json.dumps(document, indent=1) if given.json else _text(document))
    return 0


def _each_drain(client: Client, *, json_wanted: bool) -> int:
    generations = client.call("status")["generations"]
    found = []
    for one in generations[:GENERATIONS_MAX]:
        if "drain" in one:
            with suppress(DaemonError):  # it has ended since
                found.append(client.call("why", {"generation": one["number"]}))
    if json_wanted:
        print(json.dumps(found, indent=1))
    elif found:
        print("\n\n".join(_text(document) for document in found))
    else:
        numbers = " or ".join(f"`wssctl why {int(one['number'])}`" for one in generations)
        print("no generation is draining" + (f"; there is {numbers}" if numbers else ""))
    return 0


def _text(document: Document) -> str:
    return "\n".join(harmless(one, kept="") for one in render(document))


def render(document: Document) -> Iterator[str]:
    """The document as lines of text."""
    number, drain = int(document["generation"]), document["drain"]
    what = f"generation {number} ({document['release']}) is {document['state']}"
    if drain is not None:
        since = format_duration(drain["seconds"])
        what += f" for {since}: {drain['connections_at_start']} -> {document['connections']}"
        what += f" connection{'' if document['connections'] == 1 else 's'}"
    yield what
    for reason in document["reasons"]:
        yield f"  kept alive by: {reason}"
    if drain is not None:
        yield f"  limit: {_limit(drain)}"
        empty = _estimate(document["estimate"]) if document["connections"] else EMPTY
        yield f"  empty: {empty}"
    yield ""
    for one in document["workers"]:
        queued = f", {one['queued']} waiting" if one["queued"] else ""
        counts = "" if one["reported"] is None else f" ({one['reported']} by its own account)"
        yield (
            f"  worker {one['index']}, pid {one['pid'] or '-'}, {one['state']}:"
            f" {count(one['connections'], 'connection')}{counts}{queued}"
        )
    yield from _helpers(document.get("helpers", []))
    if document["peers"]:
        yield ""
        yield from _peers(document)
    if drain is not None and document["connections"]:
        yield ""
        yield f"  to end it sooner: wssctl drain {number} --within 10min"


def _helpers(helpers: list[Document]) -> Iterator[str]:
    """Processes that hold sockets of clients that have left: they keep nothing, but are odd."""
    for one in helpers:
        uncounted = one["connections"] - one["counted"]
        if uncounted:
            yield (
                f"  pid {one['pid']} ({one['command']}) holds sockets of"
                f" {count(uncounted, 'client')} that left; they are not counted"
            )


def _limit(drain: Document) -> str:
    if drain["paused"]:
        return "paused"
    how = (
        "its connections are closed politely"
        if drain["closes_on_request"]
        else "its workers get SIGTERM"
    )
    if drain["closing"]:
        return f"reached: connections are being closed, until in {_span(drain['seconds_left'])}"
    if drain["seconds_left"] is None:
        return "none; it ends when its last connection has gone"
    by = "over by then" if drain["closes_on_request"] else "then"
    return f"in {_span(drain['seconds_left'])}: {how}, {by}"


def _estimate(estimate: Document) -> str:
    if estimate["unknown"] is not None:
        return f"unknown ({estimate['unknown']})"
    half = format_duration(estimate["half_life_seconds"])
    about = format_duration(estimate["empty_in_seconds"])
    return f"in about {about} (half of the remaining connections close every {half})"


def _peers(document: Document) -> Iterator[str]:
    rows = [HEADINGS]
    for one in document["peers"][:PEERS_SHOWN]:
        low, high = _span(one["idle_seconds_min"]), _span(one["idle_seconds_max"])
        oldest = "-" if one["oldest_seconds"] is None else f">{_span(one['oldest_seconds'])}"
        idle = low if low == high else f"{low} - {high}"
        rows.append((one["address"], str(one["connections"]), oldest, idle))
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    for peer, number, oldest, idle in rows:
        cells = (peer.ljust(widths[0]), number.rjust(widths[1]), oldest.rjust(widths[2]), idle)
        yield "  " + "  ".join(cells)
    more = len(document["peers"]) - PEERS_SHOWN + document["peers_left_out"]
    if more > 0:
        yield f"  and {more} more (--json has the first 50)"


def _span(seconds: float) -> str:
    return format_duration(max(0.0, seconds))
