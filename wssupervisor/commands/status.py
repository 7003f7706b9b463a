"""status: show generations, workers, connections, drains and the last reload"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from wssupervisor.control.client import Client
from wssupervisor.control.paths import running
from wssupervisor.durations import format_duration
from wssupervisor.errors import WssError

EXAMPLES = """\
examples:
  wssctl status
  wssctl -i chat status --json | jq .generations[0].connections
"""

Document = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the whole document, for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    document = client.call("status")
    print(json.dumps(document, indent=1) if given.json else "\n".join(render(document)))
    return 0


def list_all() -> int:
    """Several instances run: one line each."""
    for name, path in running().items():
        try:
            print(_headline(Client(path).call("status")))
        except WssError as error:
            print(f"{name}  {error}")
    print("\nmore about one: wssctl -i NAME status")
    return 0


def _headline(document: Document) -> str:
    connections = sum(one["connections"] for one in document["generations"])
    uptime = format_duration(document["uptime_seconds"])
    return (
        f"{document['name']}  {document['state']}  pid {document['pid']}, up {uptime},"
        f" {_plural(connections, 'connection')}"
    )


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def render(document: Document) -> Iterator[str]:
    """The document as lines of text, at most 80 columns where names allow."""
    yield _headline(document)
    if document.get("waits_for"):
        yield f"  waits for: {document['waits_for']}"
    if document["workers_wanted"] != document["workers_configured"]:
        yield (
            f"  scaled to {_plural(document['workers_wanted'], 'worker')}; the configuration says"
            f" {document['workers_configured']}"
        )
    for one in document["listeners"]:
        yield _listener(one)
    yield from _workers(document)
    remarks = [line for one in document["generations"] for line in _remarks(one)]
    if remarks:
        yield ""
        yield from remarks
    yield from _last_reload(document["last_reload"])


def _listener(one: Document) -> str:
    mode = one["mode"] + (f" ({one['mode_reason']})" if one["mode_reason"] else "")
    queued = f", {one['queued']} waiting" if one["queued"] else ""
    if one["mode"] == "shared":
        return f"  {one['name']}  {one['address']}  {mode}{queued}"
    fate = "" if one["survives_supervisor"] else "; steering ends with the supervisor"
    return (
        f"  {one['name']}  {one['address']}  {mode}, {one['slots']} slots"
        f" ({one['free_slots']} free){queued}{fate}"
        + (f"; it had {one['slots_before']} before" if one["slots_before"] else "")
    )


HEADINGS = ("GENERATION", "STATE", "WORKER", "PID", "CONNECTIONS", "MEMORY", "UP", "RESTARTS")


def _workers(document: Document) -> Iterator[str]:
    rows: list[Sequence[str]] = [HEADINGS]
    for generation in document["generations"]:
        title = [str(generation["number"]), generation["state"]]
        for worker in generation["workers"]:
            rows.append([*title, *_worker(worker)])
            title = ["", ""]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADINGS))]
    numbers = {0, 2, 3, 4, 5, 6, 7}
    yield ""
    for row in rows:
        cells = (
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield ("  " + "  ".join(cells)).rstrip()


def _worker(one: Document) -> list[str]:
    name = f"{one['index']} {one['state']}" + (" sweeper" if one["sweeper"] else "")
    memory = "-" if one["rss_bytes"] is None else f"{one['rss_bytes'] / 2**20:.0f} MB"
    up = one["uptime_seconds"]
    return [
        name,
        str(one["pid"] or "-"),
        str(one["connections"]),
        memory,
        "-" if up is None else format_duration(up),
        str(one["restarts"]),
    ]


def _remarks(one: Document) -> Iterator[str]:
    number = one["number"]
    drain = one.get("drain")
    if drain is not None:
        since = format_duration(_ago(drain["since"]))
        limit = (
            f", limit in {format_duration(-_ago(drain['deadline']))}" if drain["deadline"] else ""
        )
        if drain["paused"]:
            limit = ", paused"
        yield (
            f"  generation {number} drains for {since}: {drain['connections_at_start']} ->"
            f" {_plural(one['connections'], 'connection')}{limit}"
        )
    if one["shares_slots"]:
        yield f"  generation {number}: workers share slots, for want of free ones"
    for worker in one["workers"]:
        if "retry_at" in worker:
            wait = format_duration(max(0.0, -_ago(worker["retry_at"])))
            yield f"  worker {worker['index']} of generation {number} is started again in {wait}"
        if worker["still_listens"]:
            yield (
                f"  worker {worker['index']} of generation {number} still listens: new connections"
                " may reach it,"
            )
            yield (
                f"    and it will not end by itself; `wssctl drain {number} --within 0s` ends it"
                " with its connections"
            )
        if worker["mute_seconds"] is not None:
            mute = format_duration(worker["mute_seconds"])
            yield (
                f"  worker {worker['index']} of generation {number} gives no sign of life for"
                f" {mute}: new connections go to others"
            )
        if worker["state"] == "silent":
            yield f"  worker {worker['index']} of generation {number}: {worker['reason']}"


def _ago(stamp: str) -> float:
    """Seconds since an ISO 8601 instant; negative for one to come."""
    return time.time() - datetime.fromisoformat(stamp).astimezone(UTC).timestamp()


def _last_reload(last: Document | None) -> Iterator[str]:
    yield ""
    if last is None:
        yield "  no reload yet"
        return
    when = format_duration(_ago(last["started_at"]))
    what = "roll back" if last["kind"] == "rollback" else "reload"
    if last["ok"]:
        took = format_duration(last["seconds"])
        yield (
            f"  last {what} {last['id']}, {when} ago: generation {last['generation']} serves"
            f" (took {took})"
        )
    else:
        yield f"  last {what} {last['id']}, {when} ago, FAILED: {last['reason']}"
