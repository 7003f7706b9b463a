"""What a worker writes is kept for us, whoever reads or does not read it."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from wssupervisor.runtime.output import LAST_LINES, LINE_BYTES, Output


@pytest.fixture
def output() -> Iterator[Output]:
    found = Output.create("test")
    yield found
    found.close()


def write(output: Output, data: bytes) -> None:
    os.write(output.descriptor, data)


def kibibytes(output: Output) -> int:
    """Memory behind it now."""
    return os.fstat(output.descriptor).st_blocks // 2


def test_lines_come_as_they_were_written(output: Output) -> None:
    write(output, b"one\ntw")
    first = output.poll()
    write(output, b"o\n\nlast")

    assert first == ["one"]
    assert output.poll() == ["two", ""]
    assert output.poll(final=True) == ["last"]
    assert output.last_lines() == ("one", "two", "", "last")


def test_only_the_last_lines_are_kept(output: Output) -> None:
    write(output, b"".join(b"%d\n" % number for number in range(200)))
    output.poll()

    assert output.last_lines() == tuple(str(number) for number in range(200 - LAST_LINES, 200))


def test_a_line_does_nothing_to_a_terminal(output: Output) -> None:
    write(output, b"\x1b[31mred\xff\tend\r\n")

    assert output.poll() == ["\\x1b[31mred\\xff\tend"]


def test_a_long_line_is_cut(output: Output) -> None:
    write(output, b"x" * (LINE_BYTES + 5) + b"\n")

    assert [len(line) for line in output.poll(final=True)] == [LINE_BYTES, 5]


def test_a_line_that_never_ends_is_passed_on_all_the_same(output: Output) -> None:
    write(output, b"x" * (3 * LINE_BYTES))

    assert sum(len(line) for line in output.poll()) >= 2 * LINE_BYTES


def test_memory_is_given_back_as_it_is_read(output: Output) -> None:
    for _ in range(64):
        write(output, b"y" * 99 + b"\n" * 1 + b"z" * 99900)
    grown = kibibytes(output)
    while output.poll():
        pass

    assert grown > 6000
    assert kibibytes(output) <= 8


def test_a_writer_neither_blocks_nor_fails_when_nobody_reads(output: Output) -> None:
    code = "import sys\nfor _ in range(2000): print('x' * 1000)\nprint('end')"
    writer = subprocess.run(
        [sys.executable, "-c", code], stdout=output.descriptor, timeout=60, check=True
    )
    lines = []
    while found := output.poll():
        lines += found

    assert writer.returncode == 0
    assert len(lines) == 2001
    assert lines[-1] == "end"
