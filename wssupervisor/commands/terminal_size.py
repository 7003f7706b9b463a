"""What the status screen needs beside the status: recent events and the size of the output."""

import shutil
import sys
from collections import deque
from contextlib import suppress

from wssupervisor.commands.screen import EVENTS_MAX, Size
from wssupervisor.commands.terminal import is_unicode
from wssupervisor.control.client import Client, Gone
from wssupervisor.control.documents import Event
from wssupervisor.control.verbs import EVENTS, EventsRequest


def recent(client: Client) -> list[Event]:
    """The last events. Raises what `Client.ask` raises, but Gone."""
    events: deque[Event] = deque(maxlen=EVENTS_MAX)  # an older daemon may send more
    with suppress(Gone):  # upgraded just now: those that came are enough
        client.ask(
            EVENTS, EventsRequest(last=EVENTS_MAX), lambda event: events.append(event["note"])
        )
    return list(events)


def size_of_output() -> Size:
    """Without limits if the output is not a terminal."""
    unicode = is_unicode(sys.stdout)
    if not sys.stdout.isatty():
        return Size(unicode=unicode)
    columns, lines = shutil.get_terminal_size()
    return Size(columns, lines, unicode)
