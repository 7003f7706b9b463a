"""history: the reloads and roll backs so far, with who asked and how each ended"""

import argparse
import json
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from wssupervisor.control.client import Client
from wssupervisor.durations import format_duration

EXAMPLES = """\
Oldest first, also those before the daemon's last start (under systemd; elsewhere before its last
death). Times are UTC. "forced": connections that were closed because a limit, or somebody, wanted
the old workers to end; "lost": those of old workers that crashed. The others left by themselves.

examples:
  wssctl history
  wssctl history --since 7d
  wssctl -i chat history --json | jq -c 'select(.ok == false)'
"""

Document = dict[str, Any]
WIDTH = 80
INDENT = " " * 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", metavar="SPAN", help="only of the last 10min, 1h, 7d, ...")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(given: argparse.Namespace, client: Client) -> int:
    found = client.call("history", {"since": given.since})["reloads"]
    if given.json:
        for one in found:
            print(json.dumps(one))
        return 0
    width = shutil.get_terminal_size((WIDTH, 24)).columns
    for one in found:
        for line in render(one):
            print(
                textwrap.fill(
                    line,
                    width,
                    subsequent_indent=INDENT * 2,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
    if not found:
        print("no reload yet" if given.since is None else f"no reload in the last {given.since}")
    return 0


def render(one: Document) -> Iterator[str]:
    """When, which, by whom, and its verdict; then the release, and the drain it began."""
    what = "roll back" if one["kind"] == "rollback" else "reload"
    when = f"{one['at'][:10]} {one['at'][11:19]}"
    yield f"{when}  {one['id']} {what} by {_who(one)}: {_verdict(one)}"
    if one["release"] is not None:
        yield f"{INDENT}release {one['release']}"
    if one["drain"] is not None:
        yield f"{INDENT}generation {one['replaced']} {_drain(one['drain'])}"


def _who(one: Document) -> str:
    if one["via"] is None:
        return "somebody"
    if one["by"] is None:
        return str(one["via"])
    who = f"{one['by']} (pid {one['by_pid']})"
    return f"systemd, as {who}" if one["via"] == "systemd" else who


def _verdict(one: Document) -> str:
    if one["ok"] is None:
        return "under way"
    took = "" if one["seconds"] is None else f" after {format_duration(one['seconds'])}"
    if not one["ok"]:
        return f"FAILED{took}: {one['reason']}"
    return f"generation {one['generation']} serves{took}"


def _drain(drain: Document) -> str:
    count = drain["connections"]
    had = "" if count is None else f" {count} connection{'' if count == 1 else 's'}"
    match drain["state"]:
        case "draining":
            return f"drains{had}" if had else "drains"
        case "rolled-back-to":
            return "was rolled back to"
        case "cut-off":
            return f"drained{had} when the instance ended"
    if drain["seconds"] is None:
        return "has drained"
    return (
        f"drained{had} in {format_duration(drain['seconds'])}:"
        f" {drain['forced']} forced, {drain['lost']} lost"
    )
