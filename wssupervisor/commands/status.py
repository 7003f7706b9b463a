"""status: one look at an instance, or a line for each instance"""

import argparse
import json

from wssupervisor.commands.screen import Size, headline, screen
from wssupervisor.commands.terminal import Line, show
from wssupervisor.commands.terminal_size import recent, size_of_output
from wssupervisor.commands.understood import understood
from wssupervisor.control import hints
from wssupervisor.control.client import Client
from wssupervisor.control.paths import running
from wssupervisor.control.verbs import STATUS, Empty
from wssupervisor.errors import WssError

EXAMPLES = """\
On a terminal, the output fits the screen: the least important lines are left out. With the Python
package rich (python3-rich in Debian), --watch redraws the whole screen. Without rich, it prints the
status again every second.

examples:
  wssctl status
  wssctl status --watch                   show it every second, until Ctrl-C or q
  wssctl -i chat status --json | jq .generations[0].connections
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--watch", action="store_true", help="update every second until Ctrl-C or q"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object; with --watch one per line"
    )


def run(given: argparse.Namespace, client: Client) -> int:
    if given.watch:
        from wssupervisor.commands import watch  # noqa: PLC0415 - rarely needed

        return watch.run(given, client)
    if given.json:
        print(json.dumps(client.ask(STATUS, Empty()), indent=1))
        return 0
    size = size_of_output()
    # The next prompt must not push the first line off the screen.
    below = 0 if size.lines is None else 1
    show(ask(client, Size(size.columns, size.lines and size.lines - below, size.unicode)))
    return 0


def ask(client: Client, size: Size) -> list[Line]:
    """The status now, for a screen of that size."""
    document = client.ask(STATUS, Empty())
    return screen(document, recent(client), size, client.chosen)


def list_all() -> int:
    """Print one line for each running instance."""
    for name, path in running().items():
        try:
            client = Client(path, hints.named(name))
            with understood(client):
                show([headline(client.ask(STATUS, Empty()))])
        except WssError as error:
            print(f"{name}  {error}")
    print("\nShow one of them with: wssctl -i NAME status")
    return 0
