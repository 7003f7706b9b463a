"""WebRTC signalling: two people in a room pass each other offers, answers and candidates.

    python server.py                            by itself, on 127.0.0.1:8765
    wssupervisor --config signalling.toml       supervised

ws://127.0.0.1:8765/ROOM?me=ann&after=0: whatever one sends (a JSON object with a "type"), the other
gets, with a number and from whom, also if he comes later. A third is turned away. Who was cut off
says with `after` which number he had last, and gets what he missed.

A deploy can come between the offer and the answer: then one of the two is on the old generation and
the other on the new one. So rooms are in a database, not in a process. While an offer waits for its
answer the connection is `busy`, and not closed at its turn when a drain has a limit.
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
"""How long a seat is kept for one who was cut off."""
POLICY_VIOLATION = 1008
GENERATION = int(os.environ.get("WSSUPERVISOR_GENERATION", "0"))
DEFAULT = Path(tempfile.gettempdir(), f"signalling-{os.getuid()}.db")

SCHEMA = """
CREATE TABLE IF NOT EXISTS seats
    (room TEXT NOT NULL, who TEXT NOT NULL, seen REAL NOT NULL, PRIMARY KEY (room, who));
CREATE TABLE IF NOT EXISTS messages
    (id INTEGER PRIMARY KEY AUTOINCREMENT,
     room TEXT NOT NULL, who TEXT NOT NULL, text TEXT NOT NULL);
"""


class Rooms:
    """Who is where, and what was said: shared by all processes."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(SCHEMA)

    def sit(self, room: str, who: str) -> bool:
        """Take one of a room's two seats, or keep it; an empty room is a new one."""
        now = time.time()
        run = self._database.execute
        run("BEGIN IMMEDIATE")
        run("DELETE FROM seats WHERE seen < ?", (now - SEAT_SECONDS,))
        run("DELETE FROM messages WHERE room NOT IN (SELECT room FROM seats)")
        others = run("SELECT count(*) FROM seats WHERE room = ? AND who != ?", (room, who))
        free = others.fetchone()[0] < 2
        if free:
            run("INSERT OR REPLACE INTO seats VALUES (?, ?, ?)", (room, who, now))
        run("COMMIT")
        return bool(free)

    def leave(self, room: str, who: str) -> None:
        self._database.execute("DELETE FROM seats WHERE room = ? AND who = ?", (room, who))

    def say(self, room: str, who: str, text: str) -> None:
        insert = "INSERT INTO messages (room, who, text) VALUES (?, ?, ?)"
        self._database.execute(insert, (room, who, text))

    def heard(self, room: str, who: str, after: int) -> list[tuple[int, str, str]]:
        """What the other one said."""
        select = (
            "SELECT id, who, text FROM messages WHERE room = ? AND who != ? AND id > ? ORDER BY id"
        )
        return list(self._database.execute(select, (room, who, after)))


@dataclass(slots=True)
class Caller:
    connection: ServerConnection
    room: str
    who: str
    after: int
    offered: bool = False
    """An offer of the one or the other waits for its answer."""

    def saw(self, kind: object) -> None:
        if kind in ("offer", "answer"):
            self.offered = kind == "offer"


rooms: Rooms
callers: dict[ServerConnection, Caller] = {}


def busy(connection: ServerConnection) -> bool:
    return connection in callers and callers[connection].offered


async def pass_on(caller: Caller) -> None:
    """What the other one says, wherever he is. (With a broker one is told, and need not look.)"""
    seen = time.monotonic()
    with contextlib.suppress(ConnectionClosed):
        while True:
            for number, who, text in rooms.heard(caller.room, caller.who, caller.after):
                message = json.loads(text)
                caller.after = number
                await caller.connection.send(json.dumps({**message, "id": number, "from": who}))
                caller.saw(message.get("type"))
            await asyncio.sleep(LOOK_SECONDS)
            if time.monotonic() > seen + SEAT_SECONDS / 3:
                seen = time.monotonic()
                rooms.sit(caller.room, caller.who)


async def call(connection: ServerConnection) -> None:
    asked = urlsplit(connection.request.path if connection.request else "/")
    query = parse_qs(asked.query)
    who, after = query.get("me", ["?"])[0], int(query.get("after", ["0"])[0])
    if not rooms.sit(asked.path, who):
        await connection.close(POLICY_VIOLATION, "there are two in this room already")
        return
    caller = callers[connection] = Caller(connection, asked.path, who, after)
    passing = asyncio.create_task(pass_on(caller))
    try:
        await connection.send(json.dumps({"type": "hello", "generation": GENERATION}))
        async for text in connection:
            message = json.loads(text)
            rooms.say(caller.room, who, json.dumps(message))
            caller.saw(message.get("type"))
            if message.get("type") == "bye":
                rooms.leave(caller.room, who)
                break
    except ConnectionClosed:
        pass
    finally:
        passing.cancel()
        del callers[connection]


if __name__ == "__main__":
    rooms = Rooms(os.environ.get("ROOMS") or str(DEFAULT))
    asyncio.run(serve(call, busy=busy, address=("127.0.0.1", 8765)))
