"""A live feed of events: a client that reconnects names its last event, and misses none.

    python server.py                            by itself, on 127.0.0.1:8765
    wssupervisor --config feed.toml             supervised

ws://127.0.0.1:8765/?after=17 sends every event after number 17: the stored ones, then new ones.
ws://127.0.0.1:8765/publish takes {"key": ..., "text": ...} and answers {"id": ...}. The same key
means the same event, so a client that is cut off before the answer sends the event again.

Generations and workers are processes side by side, and an event that one of them takes is for the
readers of all. So the events are in a database. Their numbers grow in the order in which readers
can see them.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import tempfile
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from wssupervisor.worker import serve

LOOK_SECONDS = 0.02
KEPT = 100_000
GENERATION = int(os.environ.get("WSSUPERVISOR_GENERATION", "0"))
DEFAULT = Path(tempfile.gettempdir(), f"feed-{os.getuid()}.db")

SCHEMA = """
CREATE TABLE IF NOT EXISTS events
    (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL, text TEXT NOT NULL)
"""


class Feed:
    """The events, and a signal for each new one."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute(SCHEMA)
        self.changed = asyncio.Event()
        """Set at the next change, and then replaced by a new one."""

    def add(self, key: str, text: str) -> int:
        """Return the number of the event. A key that exists already keeps its event."""
        insert = "INSERT OR IGNORE INTO events (key, text) VALUES (?, ?)"
        self._database.execute(insert, (key, text))
        ((number,),) = self._database.execute("SELECT id FROM events WHERE key = ?", (key,))
        self._database.execute("DELETE FROM events WHERE id <= ?", (number - KEPT,))
        return int(number)

    def after(self, number: int) -> list[tuple[int, str]]:
        select = "SELECT id, text FROM events WHERE id > ? ORDER BY id LIMIT 1000"
        return list(self._database.execute(select, (number,)))

    async def look(self) -> None:
        """Poll for events that other processes took. (A server with a broker need not poll.)"""
        last = -1
        while True:
            ((newest,),) = self._database.execute("SELECT max(id) FROM events")
            if newest != last:
                last = newest
                self.changed.set()
                self.changed = asyncio.Event()
            await asyncio.sleep(LOOK_SECONDS)


async def follow(connection: ServerConnection, feed: Feed, last: int) -> None:
    with contextlib.suppress(ConnectionClosed):
        await connection.send(json.dumps({"hello": "feed", "generation": GENERATION}))
        while True:
            changed = feed.changed  # taken before the read, so that no change is missed
            for number, text in feed.after(last):
                await connection.send(json.dumps({"id": number, "text": text}))
                last = number
            await changed.wait()


async def publish(connection: ServerConnection, feed: Feed) -> None:
    async for message in connection:
        event = json.loads(message)
        number = feed.add(str(event["key"]), str(event["text"]))
        await connection.send(json.dumps({"id": number}))


async def main() -> None:
    feed = Feed(os.environ.get("FEED") or str(DEFAULT))

    async def handle(connection: ServerConnection) -> None:
        asked = urlsplit(connection.request.path if connection.request else "/")
        with contextlib.suppress(ConnectionClosed):
            if asked.path == "/publish":
                await publish(connection, feed)
                return
            after = int(parse_qs(asked.query).get("after", ["0"])[0])
            following = asyncio.create_task(follow(connection, feed, after))
            try:
                async for _ in connection:
                    pass
            finally:
                following.cancel()

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(feed.look())
        await serve(handle, address=("127.0.0.1", 8765))
        looking.cancel()


if __name__ == "__main__":
    asyncio.run(main())
