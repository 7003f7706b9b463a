"""metrics: what monitoring is told, as Prometheus text"""

import argparse
import json
import sys

from wssupervisor.control.client import Client

EXAMPLES = """\
The same as http://ADDRESS/metrics, where [http] gives an address. Connections are as the kernel's
tables had them at the last count; a scrape that finds other numbers of descriptors has them counted
again soon.

examples:
  wssctl metrics
  wssctl -i chat metrics | grep connections
  wssctl -i chat metrics --json | jq -c '.[] | select(.name == "wssupervisor_connections")'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one array of metrics, for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    found = client.call("metrics", {"json": given.json})
    if given.json:
        print(json.dumps(found["metrics"], indent=1))
    else:
        sys.stdout.write(found["text"])
    return 0
