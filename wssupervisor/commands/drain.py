"""drain: the limit of a draining generation"""

import argparse
import json

from wssupervisor.control.client import Client
from wssupervisor.control.verbs import DRAIN, DrainChange, DrainRequest
from wssupervisor.durations import format_duration
from wssupervisor.plural import count

EXAMPLES = """\
A draining generation runs until its connections have closed, or until its limit.

examples:
  wssctl drain 5 --within 10min      end it in 10 minutes, with the connections that are left
  wssctl drain 5 --within 0s         end it now, with its connections
  wssctl drain 5 --within infinity   no limit: end it when its last connection has closed
  wssctl drain 5 --pause             keep it, even if it is empty or at its limit, until --resume
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "generation", type=int, help="number of the generation, as in wssctl status"
    )
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--within",
        metavar="SPAN",
        help=("limit of the drain: end its workers and their connections after this time"),
    )
    how.add_argument("--pause", action="store_true", help="pause the drain until --resume")
    how.add_argument("--resume", action="store_true", help="resume the drain")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(given: argparse.Namespace, client: Client) -> int:
    request: DrainRequest = {"generation": given.generation}
    if given.within is not None:
        request["within"] = given.within
    elif given.pause:
        request["pause"] = True
    else:
        request["resume"] = True
    answer = client.ask(DRAIN, request)
    print(json.dumps(answer) if given.json else client.hint(_sentence(answer)))
    return 0


def _sentence(answer: DrainChange) -> str:
    seconds = answer["seconds"]
    if answer["paused"]:
        end = f"paused until: wssctl drain {answer['generation']} --resume"
    elif seconds is None:
        end = "no limit: ends when its last connection has closed"
    elif seconds <= 0:
        end = "ending now"
    else:
        end = f"ends when its last connection has closed, or in {format_duration(seconds)}"
    has = f"{count(answer['workers'], 'worker')}, {count(answer['connections'], 'connection')}"
    return f"generation {answer['generation']} ({has}): {end}"
