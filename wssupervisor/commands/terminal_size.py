"""What a look at the status takes: what happened last, and the size of where it is shown."""

import shutil
import sys
from collections import deque
from contextlib import suppress
from typing import Any

from wssupervisor.commands.screen import EVENTS_MAX, Size
from wssupervisor.commands.terminal import is_unicode
from wssupervisor.control.client import Client, Gone

Document = dict[str, Any]


def recent(client: Client) -> list[Document]:
    events: deque[Document] = deque(maxlen=EVENTS_MAX)  # an older daemon sends all
    with suppress(Gone):  # upgraded just now: what it has told is good enough
        client.call("events", {"last": EVENTS_MAX}, lambda event: events.append(event["note"]))
    return list(events)


def size_of_output() -> Size:
    """Without limits where nobody looks at it directly."""
    unicode = is_unicode(sys.stdout)
    if not sys.stdout.isatty():
        return Size(unicode=unicode)
    columns, lines = shutil.get_terminal_size()
    return Size(columns, lines, unicode)
