"""Asking a short process of our own, and hearing all that it says."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from wssupervisor import start_directory
from wssupervisor.runtime.processes import Child

SAID_BYTES = 1 << 16
_MODULE = """
import runpy, sys
sys.path[:1] = []  # the directory that we were started in may have modules of any name
sys.path.append(sys.argv.pop(1))
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def module(name: str, *arguments: str) -> list[str]:
    """A module of this package as a program, found wherever this program was."""
    own = str(Path(__file__).parents[2])
    return [sys.executable, "-c", _MODULE, own, name, *arguments]


@dataclass(frozen=True, slots=True)
class Said:
    """All of a child's output, and its exit status; None: a signal ended it."""

    text: str
    status: int | None


async def ask_child(
    command: list[str],
    descriptor: int,
    *,
    within: float,
    question: str = "",
    more: Mapping[str, str] | None = None,
    errors: bool = False,
) -> Said | None:
    """What it writes, `errors` included if wished, until it ends; None after so many seconds.

    It has `descriptor` as its 3, reads `question` on its standard input, gets `more` variables, and
    is started where we were. Raises OSError.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", 0) as pipe:
        try:
            with start_directory.entered():
                child = _spawned(command, writing, descriptor, question, more, errors=errors)
        finally:
            os.close(writing)
        try:
            return await asyncio.wait_for(_until_it_ends(child, pipe), within)
        except TimeoutError:
            return None
        finally:
            child.end()


def _spawned(
    command: list[str],
    output: int,
    descriptor: int,
    question: str,
    more: Mapping[str, str] | None,
    *,
    errors: bool,
) -> Child:
    # A file: it takes any length at once, and is never waited for.
    asked = os.memfd_create("wssupervisor-question", os.MFD_CLOEXEC)
    try:
        os.write(asked, question.encode())
        os.lseek(asked, 0, os.SEEK_SET)
        return Child.spawn(command, asked, output, descriptor, more, errors=errors)
    finally:
        os.close(asked)


async def _until_it_ends(child: Child, pipe: FileIO) -> Said:
    text = await _read_all(pipe)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(child.fileno(), ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(child.fileno())
    return Said(text, child.status())


async def _read_all(pipe: FileIO) -> str:
    """What is written to the pipe until its last writer has gone."""
    reader = asyncio.StreamReader(limit=SAID_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return (await reader.read()).decode("utf-8", "replace").strip()
    finally:
        transport.close()
