"""join: put the instance back into its load balancer, after leave"""

import argparse
import json
from typing import Any

from wssupervisor.control.client import Client
from wssupervisor.durations import format_duration

EXAMPLES = """\
Its health page and its agent say at once that it can be sent clients; the load balancer believes
them after its next checks. No further connection is asked to close.

examples:
  wssctl join
  wssctl -i chat leave --within 5min && systemctl restart wssupervisor@chat   joined, once it serves
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    answer = client.call("join")
    print(json.dumps(answer) if given.json else _sentence(answer))
    return 0


def _sentence(answer: dict[str, Any]) -> str:
    if not answer["was_out"]:
        return "it was in its load balancer already"
    took = format_duration(answer["seconds"])
    return (
        f"back in its load balancer, after {took}; a client whose turn it was may still be closed"
    )
