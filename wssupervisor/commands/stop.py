"""stop: end the instance and all its workers"""

import argparse

from wssupervisor.control.client import Client

EXAMPLES = """\
New connections are parked first, then the workers are asked to end (SIGTERM), then made to.
Under systemd use `systemctl stop` instead; this says so.

examples:
  wssctl stop
  wssctl -i chat stop --within 5s
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--within", metavar="SPAN", help="the limit (default: [stop] timeout)")


def run(given: argparse.Namespace, client: Client) -> int:
    client.call("stop", {"within": given.within})
    print("stopped")
    return 0
