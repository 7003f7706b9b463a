"""upgrade: let the supervisor become the version on disk; workers are not touched"""

import argparse
import json
from typing import Any

from wssupervisor.control.client import Client, Gone
from wssupervisor.errors import OperationFailed

EXAMPLES = """\
The supervisor re-executes itself: the same process, the same workers and sockets, the program that
is on disk now. Nobody who is connected or connecting notices. A reload that is under way goes on,
and so does every drain. The new program is tried before, on the real state: where it could not
take over, nothing changes, and this fails with the reason.

This is about wssupervisor's own code; `wssctl reload` brings your server's.

examples:
  wssctl upgrade
  wssctl -i chat upgrade --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    told: dict[str, Any] = {}
    try:
        client.call("upgrade", {}, lambda event: told.update(_known(event)))
    except Gone:
        if not told:
            raise
    status = client.call("status")
    if status.get("executions", 0) <= told["executions"]:
        raise OperationFailed("the supervisor was not re-executed; its log says why")
    found = {
        "before": told["before"],
        "version": status["version"],
        "pid": status["pid"],
        "executions": status["executions"],
    }
    print(json.dumps(found) if given.json else _sentence(found, status))
    return 0


def _known(event: dict[str, Any]) -> dict[str, Any]:
    """What is of use here: a peer may send more and more."""
    return {name: event[name] for name in ("before", "version", "executions") if name in event}


def _sentence(found: dict[str, Any], status: dict[str, Any]) -> str:
    workers = sum(len(one["workers"]) for one in status["generations"])
    return (
        f"wssupervisor {found['version']} supervises, in place of {found['before']}; the same pid"
        f" ({found['pid']}), and {workers} worker{'' if workers == 1 else 's'} untouched"
    )
