"""Asking a short process of our own, and hearing all that it says."""

import asyncio
import os
from collections.abc import Mapping
from io import FileIO

from wssupervisor.runtime.processes import Child

SAID_BYTES = 1 << 16


async def ask_child(
    command: list[str],
    descriptor: int,
    *,
    within: float,
    more: Mapping[str, str] | None = None,
    errors: bool = False,
) -> str | None:
    """What it writes, `errors` included if wished, until it ends; None after so many seconds.

    It has `descriptor` as its 3, and `more` variables. Raises OSError.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", 0) as pipe:
        try:
            child = Child.spawn(command, writing, descriptor, more, errors=errors)
        finally:
            os.close(writing)
        try:
            return await asyncio.wait_for(_read_all(pipe), within)
        except TimeoutError:
            return None
        finally:
            child.end()


async def _read_all(pipe: FileIO) -> str:
    """What is written to the pipe until its last writer has gone."""
    reader = asyncio.StreamReader(limit=SAID_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return (await reader.read()).decode("utf-8", "replace").strip()
    finally:
        transport.close()
