"""scale: the number of workers"""

import argparse
import json

from wssupervisor.control.client import Client
from wssupervisor.control.verbs import SCALE, Scale, ScaleRequest
from wssupervisor.plural import count

EXAMPLES = """\
Adds workers to the active generation, or removes them: a removed worker gets no new connections and
ends when its connections have closed. The number is kept across reloads until [app] workers changes
in the configuration. To go back to the configuration, scale to the number that is in it.

examples:
  wssctl scale 4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workers", type=int, help="number of workers to run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(given: argparse.Namespace, client: Client) -> int:
    answer = client.ask(SCALE, ScaleRequest(workers=given.workers))
    print(json.dumps(answer) if given.json else client.hint(_sentence(answer)))
    return 0


def _sentence(answer: Scale) -> str:
    now, before = answer["workers"], answer["before"]
    configured = answer["workers_configured"]
    if now == before:
        return f"{count(now, 'worker')}, as before"
    differs = "" if now == configured else f" (the configuration has {configured})"
    how = (
        ". Follow their start with: wssctl status"
        if now > before
        else "; the removed workers drain"
    )
    shared = "; too few slots are free, so workers share slots" if answer["shares_slots"] else ""
    return f"{count(now, 'worker')} instead of {before}{differs}{shared}{how}"
