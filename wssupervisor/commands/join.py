"""join: the end of leave"""

import argparse
import json

from wssupervisor.control.client import Client
from wssupervisor.control.verbs import JOIN, Empty, Join
from wssupervisor.durations import format_duration

EXAMPLES = """\
The health page and the agent report the instance as ready at once. The load balancer sends new
clients after its next checks. Workers are not asked to close further connections.

examples:
  wssctl join
  wssctl -i chat leave --within 5min && systemctl restart wssupervisor@chat   # a restart joins
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(given: argparse.Namespace, client: Client) -> int:
    answer = client.ask(JOIN, Empty())
    print(json.dumps(answer) if given.json else _sentence(answer))
    return 0


def _sentence(answer: Join) -> str:
    seconds = answer["seconds"]
    if seconds is None:
        return "already in its load balancer"
    return (
        f"back in its load balancer after {format_duration(seconds)}. Workers may still close a few"
        " connections that they were asked to close"
    )
