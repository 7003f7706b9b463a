"""metrics: the metrics of an instance, without its HTTP page"""

import argparse
import json
import sys

from wssupervisor.control.client import Client
from wssupervisor.control.verbs import METRICS, MetricsRequest

EXAMPLES = """\
Prints what http://ADDRESS/metrics serves, even if [http] has no address. Connection numbers are
from the last count in the kernel. If a worker's number of open descriptors has changed since then,
the supervisor counts again soon after the scrape.

examples:
  wssctl metrics
  wssctl -i chat metrics | grep connections
  wssctl -i chat metrics --json | jq -c '.[] | select(.name == "wssupervisor_connections")'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON array")


def run(given: argparse.Namespace, client: Client) -> int:
    found = client.ask(METRICS, MetricsRequest(json=given.json))
    if given.json:
        print(json.dumps(found["metrics"], indent=1))
    else:
        sys.stdout.write(found["text"])
    return 0
