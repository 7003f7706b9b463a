"""rollback: the request for the generation before"""

import argparse

from wssupervisor.commands.attempt import attempt
from wssupervisor.control.client import Client
from wssupervisor.control.verbs import ROLLBACK, RollbackRequest

EXAMPLES = """\
The rollback is immediate while that generation is warm: all its workers run, and none was asked to
drain. A generation stays warm for [drain] keep after its replacement, and longer while it has
connections. Otherwise its missing workers are started again from the same release and must become
ready, as in a reload.
The generation that was active drains. No later rollback returns to it: the next one goes further
back.

Ctrl-C before the cutover cancels the rollback.

examples:
  wssctl rollback
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", metavar="SPAN", default="60s", help="fail after this time (default: 60s)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(given: argparse.Namespace, client: Client) -> int:
    return attempt(client, ROLLBACK, RollbackRequest(timeout=given.timeout), json=given.json)
