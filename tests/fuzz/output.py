"""Output of workers, read in turns as the supervisor does: no line is lost, none does harm."""

import os
import time
from dataclasses import dataclass
from random import Random

from tests.fuzz import inputs
from tests.fuzz.target import Target, Wrong
from wssupervisor.runtime.workers.output import LAST_LINES, LINE_BYTES, Output

TURN_SECONDS = 0.25
"""CPU time of one turn, which blocks the loop. The aim of the reader is 5 ms."""
LINE_CHARS = 4 * LINE_BYTES
"""Of a line, each of whose bytes can be shown as four characters."""


@dataclass(frozen=True, slots=True)
class Written:
    """In pieces, as they arrive; between two of them some turns are read."""

    pieces: tuple[bytes, ...]


class WorkerOutput(Target[Written]):
    name = "output"
    fails = (
        "a line is lost, doubled or changed; a line can act on a terminal or is too long; one turn"
        " takes longer than 250 ms; more last lines are kept than allowed"
    )

    def make(self, random: Random) -> Written:
        return Written(tuple(_piece(random) for _ in range(random.randrange(1, 6))))

    def judge(self, given: Written) -> None:
        output, ends = Output.create("fuzz")
        lines: list[str] = []
        try:
            for piece in given.pieces:
                os.pwrite(output.descriptor, piece, os.fstat(output.descriptor).st_size)
                lines += _turn(output)
            while output.unread():
                lines += _turn(output)
            lines += output.rest().lines
            last = output.last_lines()
        finally:
            ends.close()
            output.close()
        _judge(b"".join(given.pieces), lines)
        if len(last) > LAST_LINES or list(last) != lines[len(lines) - len(last) :]:
            raise Wrong(f"the last lines are {ascii(last)[:300]}")


def _turn(output: Output) -> list[str]:
    began = time.process_time()
    words = output.read()
    if (took := time.process_time() - began) > TURN_SECONDS:
        raise Wrong(f"one turn took {took:.2f} s")
    if words.skipped:
        raise Wrong(f"{words.skipped} bytes were given up")
    return list(words.lines)


def _judge(data: bytes, lines: list[str]) -> None:
    for line in lines:
        if not line.replace("\t", "").isprintable() or len(line) > LINE_CHARS:
            raise Wrong(f"a line of {len(line)} characters: {ascii(line)[:300]}")
    written = data.split(b"\n")
    if not written[-1]:
        written.pop()
    if any(len(one) >= LINE_BYTES for one in written):
        return  # cut into several, wherever a turn ended
    if len(lines) != len(written):
        raise Wrong(f"{len(written)} lines were read as {len(lines)}")
    for line, one in zip(lines, written, strict=True):
        if one.isascii() and (text := one.decode()).isprintable() and line != text:
            raise Wrong(f"{text[:200]!r} was read as {line[:200]!r}")


def _piece(random: Random) -> bytes:
    match random.randrange(6):
        case 0:
            return b"\n" * random.choice(inputs.LONG)
        case 1:
            return inputs.many(random)
        case 2:
            return random.randbytes(random.choice((1, 100, 20_000)))
        case 3:
            return inputs.mutated(random, b"INFO started\nTraceback:\n  File x\n" * 20)
        case 4:
            return inputs.text(random).encode(errors="replace")
        case _:
            return b"line %d\n" % random.randrange(10**6) * random.randrange(100)
