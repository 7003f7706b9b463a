"""events: what happened, oldest first"""

import argparse
import json
from typing import Any

from wssupervisor.commands import recorded
from wssupervisor.commands.recorded import Place
from wssupervisor.commands.sentences import described
from wssupervisor.commands.times import clock_with_offset
from wssupervisor.control.client import Client, Gone

EXAMPLES = """\
Times are local, with their offset from UTC; --json has UTC. Of an instance that is not running its
record is read, if this user may (not with --follow).

examples:
  wssctl events --since 1h
  wssctl events --follow --json
"""

OVERLAP = "1min"
"""After an upgrade of the supervisor events are asked for again from so long ago on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="go on until interrupted")
    parser.add_argument("--since", metavar="SPAN", help="only the last 10min, 1h, ...")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def run(given: argparse.Namespace, client: Client) -> int:
    last = shown = ""

    def show(event: dict[str, Any]) -> None:
        nonlocal last
        note = event["note"]
        if note["at"] <= shown:
            return
        last = note["at"]
        _print(note, given)

    params = {"follow": given.follow, "since": given.since}
    while True:
        try:
            client.call("events", params, show)
        except Gone:
            if not given.follow:
                raise
            # Upgraded, or dead: then there is nobody to connect to.
            shown, params = last, {"follow": True, "since": OVERLAP}
        else:
            return 0


def run_without_daemon(given: argparse.Namespace, place: Place) -> int:
    for note in recorded.events(place, given.since):
        _print(note, given)
    return 0


def _print(note: dict[str, Any], given: argparse.Namespace) -> None:
    text = f"{clock_with_offset(note['at'])}  {described(note)}"
    print(json.dumps(note) if given.json else text, flush=True)
