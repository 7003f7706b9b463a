"""status: show generations, workers, connections, drains and the last reload"""

import argparse
import json
from typing import Any

from wssupervisor.commands.screen import Size, headline, screen
from wssupervisor.commands.terminal import Line, show
from wssupervisor.commands.terminal_size import recent, size_of_output
from wssupervisor.commands.understood import understood
from wssupervisor.control.client import Client
from wssupervisor.control.paths import running
from wssupervisor.errors import WssError

EXAMPLES = """\
On a terminal it is as long as that allows: what matters least is left out. --watch needs the Python
package rich (python3-rich in Debian) for a screen of its own; without it the text is repeated.

examples:
  wssctl status
  wssctl status --watch                   each second, until Ctrl-C or q
  wssctl -i chat status --json | jq .generations[0].connections
"""

Document = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="each second anew, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="the whole document, for scripts")


def run(given: argparse.Namespace, client: Client) -> int:
    if given.watch:
        from wssupervisor.commands import watch  # noqa: PLC0415 - most need it never

        return watch.run(given, client)
    if given.json:
        print(json.dumps(client.call("status"), indent=1))
        return 0
    size = size_of_output()
    # The prompt that comes back shall not push the first line out.
    below = 0 if size.lines is None else 1
    show(ask(client, Size(size.columns, size.lines and size.lines - below, size.unicode)))
    return 0


def ask(client: Client, size: Size) -> list[Line]:
    """What there is now, for a screen of that size."""
    document = client.call("status")
    return screen(document, recent(client), size)


def list_all() -> int:
    """Several instances run: one line each."""
    for name, path in running().items():
        try:
            with understood(path):
                show([headline(Client(path).call("status"))])
        except WssError as error:
            print(f"{name}  {error}")
    print("\nmore about one: wssctl -i NAME status")
    return 0
