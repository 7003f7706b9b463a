"""status: show generations, workers, connections, drains and the last reload"""

import argparse
import json
import shutil
import sys
from contextlib import suppress
from typing import Any

from wssupervisor.commands.screen import EVENTS_MAX, Size, headline, screen
from wssupervisor.commands.text import Line, is_unicode, show
from wssupervisor.control.client import Client, Gone
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


def recent(client: Client) -> list[Document]:
    events: list[Document] = []
    with suppress(Gone):  # upgraded just now: what it has told is good enough
        client.call("events", {"last": EVENTS_MAX}, lambda event: events.append(event["note"]))
    return events[-EVENTS_MAX:]  # an older daemon tells all


def size_of_output() -> Size:
    """Without limits where nobody looks at it directly."""
    unicode = is_unicode(sys.stdout)
    if not sys.stdout.isatty():
        return Size(unicode=unicode)
    columns, lines = shutil.get_terminal_size()
    return Size(columns, lines, unicode)


def list_all() -> int:
    """Several instances run: one line each."""
    for name, path in running().items():
        try:
            show([headline(Client(path).call("status"))])
        except WssError as error:
            print(f"{name}  {error}")
    print("\nmore about one: wssctl -i NAME status")
    return 0
