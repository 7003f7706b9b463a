"""upgrade: the supervisor executes the version on disk"""

import argparse
import json
from contextlib import suppress

from wssupervisor.control.client import Client, Gone
from wssupervisor.control.documents import Status
from wssupervisor.control.verbs import STATUS, UPGRADE, Empty, UpgradeEvent
from wssupervisor.errors import OperationFailed
from wssupervisor.plural import count

EXAMPLES = """\
The supervisor executes the program that is on disk now and stays the same process, with the same
workers and sockets. No connection is closed or delayed. A running reload and all drains continue.
The new program first tests whether it can take over the current state. If it cannot, nothing
changes, and upgrade reports the reason.

Upgrades wssupervisor itself. To deploy your server, use `wssctl reload`.

examples:
  wssctl upgrade
  wssctl -i chat upgrade --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(given: argparse.Namespace, client: Client) -> int:
    before: UpgradeEvent | None = None

    def note(event: UpgradeEvent) -> None:
        nonlocal before
        before = event

    with suppress(Gone):
        client.ask(UPGRADE, Empty(), note)
    if before is None:
        raise Gone(f"the daemon at {client.path} closed the connection without an answer")
    status = client.ask(STATUS, Empty())
    if status["executions"] <= before["executions"]:
        raise OperationFailed("the supervisor still runs the old program. Its log has the reason")
    found = {
        "before": before["before"],
        "version": status["version"],
        "pid": status["pid"],
        "executions": status["executions"],
    }
    print(json.dumps(found) if given.json else _sentence(before["before"], status))
    return 0


def _sentence(before: str, status: Status) -> str:
    workers = sum(len(one["workers"]) for one in status["generations"])
    return (
        f"the supervisor now runs wssupervisor {status['version']}, was {before}. Its pid"
        f" ({status['pid']}) and its {count(workers, 'worker')} are the same"
    )
