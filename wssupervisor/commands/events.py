"""events: what happened, from the daemon or from its record"""

import argparse
import json

from wssupervisor.commands import recorded
from wssupervisor.commands.recorded import Place
from wssupervisor.commands.sentences import described
from wssupervisor.commands.times import clock_with_offset
from wssupervisor.control.client import Client, Gone
from wssupervisor.control.documents import Event
from wssupervisor.control.verbs import EVENTS, EventsRequest, Noted

EXAMPLES = """\
Times are local, with their offset from UTC; --json prints UTC. If the instance is not running, its
record is read, if this user may read it (not with --follow).

examples:
  wssctl events --since 1h
  wssctl events --follow --json
"""

OVERLAP = "1min"
"""After an upgrade of the supervisor, events of this last span are requested again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", action="store_true", help="keep printing events until Ctrl-C")
    parser.add_argument(
        "--since", metavar="SPAN", help="print only events of the last SPAN, such as 10min or 7d"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(given: argparse.Namespace, client: Client) -> int:
    last = shown = ""

    def show(event: Noted) -> None:
        nonlocal last
        note = event["note"]
        if note["at"] <= shown:
            return
        last = note["at"]
        _print(note, given)

    request: EventsRequest = {"follow": given.follow, "since": given.since}
    while True:
        try:
            client.ask(EVENTS, request, show)
        except Gone:
            if not given.follow:
                raise
            # Upgraded; or dead, then connecting fails.
            shown, request = last, {"follow": True, "since": OVERLAP}
        else:
            return 0


def run_without_daemon(given: argparse.Namespace, place: Place) -> int:
    for note in recorded.events(place, given.since):
        _print(note, given)
    return 0


def _print(note: Event, given: argparse.Namespace) -> None:
    text = f"{clock_with_offset(note['at'])}  {described(note)}"
    print(json.dumps(note) if given.json else text, flush=True)
