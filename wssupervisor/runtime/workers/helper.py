"""Runs a short-lived helper process, and reads its whole output."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from wssupervisor import start_directory
from wssupervisor.runtime.workers.child import Child

OUTPUT_BYTES = 1 << 16
"""Only the end of its output is kept, of this size."""
OUTPUT_MAX = 1 << 20
"""A helper that writes more than this is killed."""
ISOLATED = ("-I", "-X", "utf8", *(["-B"] if sys.dont_write_bytecode else []))
"""No variable, no directory of a user and no working directory affects imports. The helper writes
UTF-8 under every locale."""
_MODULE = """
import sys
name, own, *more = sys.argv[1:]
sys.argv[1:] = []
at = next((at for at, one in enumerate(sys.path) if one.endswith("-packages")), len(sys.path))
sys.path[at:at] = [own]
sys.path += [one for one in more if one not in sys.path]
import runpy
runpy.run_module(name, run_name="__main__", alter_sys=True)
"""


def module(name: str) -> list[str]:
    """The command that runs a module of this package as a program.

    The program finds this package before any other installation of it, and libraries where the
    daemon found them. Both come after the standard library.
    """
    own = str(Path(__file__).parents[2])
    return [sys.executable, *ISOLATED, "-c", _MODULE, name, own, *_libraries()]


def _libraries() -> list[str]:
    """The daemon's import path, without its script's and its start directory."""
    others = {os.environ.get(start_directory.VARIABLE), os.path.dirname(sys.executable)}  # noqa: PTH120
    return [one for one in sys.path if os.path.isabs(one) and one not in others]  # noqa: PTH117


@dataclass(frozen=True, slots=True)
class ChildOutput:
    """The end of a child's output, and its exit status; None: a signal ended it.

    `endless`: it wrote more than OUTPUT_MAX bytes.
    """

    text: str
    status: int | None
    endless: bool = False


async def ask_child(
    command: list[str],
    descriptor: int,
    *,
    within: float,
    question: str = "",
    more: Mapping[str, str] | None = None,
    errors: bool = False,
    where: AbstractContextManager[None] | None = None,
) -> ChildOutput | None:
    """Run a command until it ends; return its output, or None after `within` seconds.

    The child has `descriptor` as its 3, reads `question` on its standard input, gets `more`
    variables, and starts in / unless `where` enters another directory. With `errors`, its standard
    error counts as output, too. A child that writes more than OUTPUT_MAX bytes is killed. Raises
    OSError.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", 0) as pipe:
        try:
            with where or nullcontext():
                child = _spawned(command, writing, descriptor, question, more, errors=errors)
        finally:
            os.close(writing)
        try:
            async with asyncio.timeout(within):
                return await _until_it_ends(child, pipe)
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
    # A file takes a question of any length at once; a pipe could block.
    asked = os.memfd_create("wssupervisor-question", os.MFD_CLOEXEC)
    try:
        os.write(asked, question.encode())
        os.lseek(asked, 0, os.SEEK_SET)
        return Child.spawn(command, asked, output, descriptor, more, errors=errors)
    finally:
        os.close(asked)


async def _until_it_ends(child: Child, pipe: FileIO) -> ChildOutput:
    text, endless = await _read_all(pipe)
    if endless:
        return ChildOutput(text, None, endless=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(child.fileno(), ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(child.fileno())
    return ChildOutput(text, child.status())


async def _read_all(pipe: FileIO) -> tuple[str, bool]:
    """The end of the output up to the last writer's close; whether it exceeds OUTPUT_MAX."""
    reader = asyncio.StreamReader(limit=OUTPUT_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    kept, size = b"", 0
    try:
        while size <= OUTPUT_MAX and (piece := await reader.read(OUTPUT_BYTES)):
            size += len(piece)
            kept = (kept + piece)[-OUTPUT_BYTES:]
        return kept.decode("utf-8", "replace").strip(), size > OUTPUT_MAX
    finally:
        transport.close()
