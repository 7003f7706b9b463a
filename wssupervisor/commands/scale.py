"""scale: change the number of workers"""

import argparse
import json
from typing import Any

from wssupervisor.control.client import Client

EXAMPLES = """\
Workers are added to the active generation, or taken from it: one that is taken away gets nothing
new and ends when its connections have gone. The number survives reloads, until [app] workers in the
configuration changes; `wssctl scale` with the number written there takes it back.

examples:
  wssctl scale 4
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workers", type=int, help="how many there shall be")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    answer = client.call("scale", {"workers": given.workers})
    print(json.dumps(answer) if given.json else _sentence(answer))
    return 0


def _sentence(answer: dict[str, Any]) -> str:
    now, before, written = answer["workers"], answer["before"], answer["workers_configured"]
    if now == before:
        return f"{_workers(now)}, as before"
    kept = "" if now == written else f"; the configuration says {written}"
    how = "`wssctl status` shows them start" if now > before else "the others drain"
    shared = "; they share slots, for want of free ones" if answer["shares_slots"] else ""
    return f"{_workers(now)} instead of {before}{kept}; {how}{shared}"


def _workers(count: int) -> str:
    return f"{count} worker{'' if count == 1 else 's'}"
