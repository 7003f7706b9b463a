"""metrics: the metrics of an instance, without its HTTP page"""

import argparse
import json
import sys

from wssupervisor.control.client import Client
from wssupervisor.control.verbs import METRICS, MetricsRequest

EXAMPLES = """\
The same text as http://ADDRESS/metrics, if [http] has an address. Connections are those of the last
count from the kernel; if a scrape finds another number of descriptors, a new count follows soon.

examples:
  wssctl metrics
  wssctl -i chat metrics | grep connections
  wssctl -i chat metrics --json | jq -c '.[] | select(.name == "wssupervisor_connections")'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one array of metrics")


def run(given: argparse.Namespace, client: Client) -> int:
    found = client.ask(METRICS, MetricsRequest(json=given.json))
    if given.json:
        print(json.dumps(found["metrics"], indent=1))
    else:
        sys.stdout.write(found["text"])
    return 0
