"""reload: the request for a new generation"""

import argparse

from wssupervisor.commands.attempt import attempt
from wssupervisor.control.client import Client
from wssupervisor.control.verbs import RELOAD, ReloadRequest

EXAMPLES = """\
Reads the configuration again, resolves the release, starts a new generation and waits until all its
workers are ready and stay ready. From then on only the new generation gets new connections. The old
generation runs until its connections have closed; reload does not wait for that.
If anything fails, the old generation keeps serving, untouched, and reload reports the reason.

Ctrl-C before the cutover cancels the reload.

examples:
  wssctl reload
  wssctl -i chat reload --timeout 2min && echo deployed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", metavar="SPAN", default="60s", help="fail after this time (default: 60s)"
    )
    parser.add_argument(
        "--make-room",
        action="store_true",
        help="if too many generations are draining, end the emptiest one at the cutover",
    )
    parser.add_argument(
        "--no-wait", action="store_true", help="return at once, without waiting for the result"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(given: argparse.Namespace, client: Client) -> int:
    request: ReloadRequest = {
        "timeout": given.timeout,
        "wait": not given.no_wait,
        "make_room": given.make_room,
    }
    return attempt(client, RELOAD, request, json=given.json)
