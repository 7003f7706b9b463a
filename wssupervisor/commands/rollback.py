"""rollback: cut over to the generation that was active before this one"""

import argparse

from wssupervisor.commands.attempt import attempt
from wssupervisor.control.client import Client

EXAMPLES = """\
At once, where that generation is still warm: all its workers live and none was told to drain (it is
kept for [drain] keep after the cutover, and longer while it has connections). Otherwise what is
missing is started again from the release as it was, and judged as in a reload.
The generation that serves now drains. It is never rolled back to; the next rollback goes one
further back.

Ctrl-C before cutover cancels it: it will not happen later.

examples:
  wssctl rollback
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", default="60s", help="give up after this (default 60s)")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON")


def run(given: argparse.Namespace, client: Client) -> int:
    return attempt(client, "rollback", {"timeout": given.timeout}, json=given.json)
