"""stop: the end of the instance"""

import argparse

from wssupervisor.control.client import Client
from wssupervisor.control.verbs import STOP, StopRequest

EXAMPLES = """\
Parks new connections and stops all workers by [stop] signal (SIGTERM). Workers that use the library
close their connections first. At the limit, the remaining workers are killed (SIGKILL). Under
systemd, stop is refused: use `systemctl stop`.

examples:
  wssctl stop
  wssctl -i chat stop --within 5s
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--within",
        metavar="SPAN",
        help="kill workers that have not ended after this time (default: [stop] timeout)",
    )


def run(given: argparse.Namespace, client: Client) -> int:
    client.ask(STOP, StopRequest(within=given.within))
    print("stopped")
    return 0
