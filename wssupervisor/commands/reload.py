"""reload: start a new generation and cut over to it, or say why not"""

import argparse

from wssupervisor.commands.attempt import attempt
from wssupervisor.control.client import Client

EXAMPLES = """\
Reads the configuration again, resolves the release, starts a whole new generation and waits until
all its workers are ready and stay so. From then on new connections go to it alone; the old
generation lives until its connections have gone (reload does not wait for that).
When anything is wrong the old generation serves on, untouched, and this fails with the reason.

Ctrl-C before cutover cancels the reload: it will not happen later.

examples:
  wssctl reload
  wssctl -i chat reload --timeout 2min && echo deployed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", default="60s", help="give up after this (default 60s)")
    parser.add_argument(
        "--make-room",
        action="store_true",
        help="if too many generations drain already, end the emptiest at the cutover",
    )
    parser.add_argument("--no-wait", action="store_true", help="return at once, without verdict")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON")


def run(given: argparse.Namespace, client: Client) -> int:
    params = {
        "timeout": given.timeout,
        "wait": not given.no_wait,
        "make_room": given.make_room,
    }
    return attempt(client, "reload", params, json=given.json)
