"""drain: change how a draining generation ends"""

import argparse
import json
from typing import Any

from wssupervisor.control.client import Client
from wssupervisor.durations import format_duration

EXAMPLES = """\
A draining generation lives until its connections have gone, or until a limit. This changes its
limit, or lets nothing end it for a while.

examples:
  wssctl drain 5 --within 10min    what is left in ten minutes is ended
  wssctl drain 5 --within 0s       end its workers now, with the connections they have
  wssctl drain 5 --within infinity no limit: when its last connection has gone
  wssctl drain 5 --pause           neither its limit nor being empty ends it, until --resume
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("generation", type=int, help="its number, as in wssctl status")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--within", metavar="SPAN", help="its workers end by then")
    how.add_argument("--pause", action="store_true", help="leave it as it is until --resume")
    how.add_argument("--resume", action="store_true", help="let it drain on")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    params: dict[str, Any] = {"generation": given.generation}
    if given.within is not None:
        params["within"] = given.within
    else:
        params["pause" if given.pause else "resume"] = True
    answer = client.call("drain", params)
    print(json.dumps(answer) if given.json else _sentence(answer))
    return 0


def _sentence(answer: dict[str, Any]) -> str:
    workers, connections, seconds = answer["workers"], answer["connections"], answer["seconds"]
    who = f"{workers} worker{'' if workers == 1 else 's'}"
    what = f"{connections} connection{'' if connections == 1 else 's'}"
    if answer["paused"]:
        end = "paused: nothing ends it until `--resume`"
    elif seconds is None:
        end = "no limit: it ends when its last connection has gone"
    elif seconds <= 0:
        end = "ending now"
    else:
        end = f"ends when its last connection has gone, or in {format_duration(seconds)}"
    return f"generation {answer['generation']} ({who}, {what}): {end}"
