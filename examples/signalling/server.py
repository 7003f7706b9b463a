"""WebRTC signalling: two clients in a room exchange offers, answers and candidates.

    python server.py                            by itself, on 127.0.0.1:8765
    wssupervisor --config signalling.toml       supervised

ws://127.0.0.1:8765/ROOM?me=ann&after=0: a message (a JSON object with a "type") goes to the other
client, with its number and sender, also if that client connects later. A third client is refused.
A client that was cut off sends its last number as `after`, and gets what it missed.

A deploy can come between the offer and the answer: then one client is on the old generation and the
other on the new one. So rooms are in a database, not in a process. While an offer waits for its
answer, the connection is `busy`, and is not closed at its turn when a drain reaches its limit.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from wssupervisor.worker import serve

LOOK_SECONDS = 0.02
SEAT_SECONDS = 30.0
"""How long a seat is kept for a client that was cut off."""
POLICY_VIOLATION = 1008
GENERATION = int(os.environ.get("WSSUPERVISOR_GENERATION", "0"))
DEFAULT = Path(tempfile.gettempdir(), f"signalling-{os.getuid()}.db")

SCHEMA = """
CREATE TABLE IF NOT EXISTS seats
    (room TEXT NOT NULL, name TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (room, name));
CREATE TABLE IF NOT EXISTS messages
    (id INTEGER PRIMARY KEY AUTOINCREMENT,
     room TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL);
"""


class Rooms:
    """The seats and messages of all rooms, shared by all processes."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(SCHEMA)

    def sit(self, room: str, name: str) -> bool:
        """Take or keep one of the two seats of a room. An empty room loses its messages."""
        now = time.time()
        run = self._database.execute
        run("BEGIN IMMEDIATE")
        run("DELETE FROM seats WHERE seen < ?", (now - SEAT_SECONDS,))
        run("DELETE FROM messages WHERE room NOT IN (SELECT room FROM seats)")
        others = run("SELECT count(*) FROM seats WHERE room = ? AND name != ?", (room, name))
        free = others.fetchone()[0] < 2
        if free:
            run("INSERT OR REPLACE INTO seats VALUES (?, ?, ?)", (room, name, now))
        run("COMMIT")
        return bool(free)

    def leave(self, room: str, name: str) -> None:
        self._database.execute("DELETE FROM seats WHERE room = ? AND name = ?", (room, name))

    def say(self, room: str, name: str, text: str) -> None:
        insert = "INSERT INTO messages (room, name, text) VALUES (?, ?, ?)"
        self._database.execute(insert, (room, name, text))

    def heard(self, room: str, name: str, after: int) -> list[tuple[int, str, str]]:
        """Return the messages of the other client: number, sender, text."""
        select = (
            "SELECT id, name, text FROM messages"
            " WHERE room = ? AND name != ? AND id > ? ORDER BY id"
        )
        return list(self._database.execute(select, (room, name, after)))


@dataclass(slots=True)
class Caller:
    connection: ServerConnection
    room: str
    name: str
    after: int
    offered: bool = False
    """An offer, of either client, waits for its answer."""

    def saw(self, kind: object) -> None:
        if kind in ("offer", "answer"):
            self.offered = kind == "offer"


rooms: Rooms
callers: dict[ServerConnection, Caller] = {}


def busy(connection: ServerConnection) -> bool:
    return connection in callers and callers[connection].offered


async def pass_on(caller: Caller) -> None:
    """Pass on messages of the other client. (A server with a broker need not poll.)"""
    seen = time.monotonic()
    with contextlib.suppress(ConnectionClosed):
        while True:
            for number, name, text in rooms.heard(caller.room, caller.name, caller.after):
                message = json.loads(text)
                caller.after = number
                await caller.connection.send(json.dumps({**message, "id": number, "from": name}))
                caller.saw(message.get("type"))
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() > seen + SEAT_SECONDS / 3:
                seen = time.monotonic()
                rooms.sit(caller.room, caller.name)


async def call(connection: ServerConnection) -> None:
    asked = urlsplit(connection.request.path if connection.request else "/")
    query = parse_qs(asked.query)
    name, after = query.get("me", ["?"])[0], int(query.get("after", ["0"])[0])
    if not rooms.sit(asked.path, name):
        await connection.close(POLICY_VIOLATION, "this room already has two clients")
        return
    caller = callers[connection] = Caller(connection, asked.path, name, after)
    passing = asyncio.create_task(pass_on(caller))
    try:
        await connection.send(json.dumps({"type": "hello", "generation": GENERATION}))
        async for text in connection:
            message = json.loads(text)
            rooms.say(caller.room, name, json.dumps(message))
            caller.saw(message.get("type"))
            if message.get("type") == "bye":
                rooms.leave(caller.room, name)
                break
    except ConnectionClosed:
        pass
    finally:
        passing.cancel()
        del callers[connection]


if __name__ == "__main__":
    rooms = Rooms(os.environ.get("ROOMS") or str(DEFAULT))
    asyncio.run(serve(call, busy=busy, address=("127.0.0.1", 8765)))
