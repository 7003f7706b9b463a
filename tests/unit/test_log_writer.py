"""The log is written in order by a thread; what finds no room is counted, at its place."""

import os
import threading
from collections.abc import Iterator, Sequence

import pytest

from wssupervisor.log_writer import OUTPUT_BYTES, OWN_BYTES, Dropped, Record, StdoutSink, Writer

SOON = 10.0


class Reader:
    """A sink whose reader stops and continues; it keeps what it was given."""

    keeps = False

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.fails = False
        self.lines: list[str] = []

    def write(self, entries: Sequence[bytes], at: int) -> int:
        assert self.goes_on.wait(SOON)
        if self.fails:
            return 0
        self.lines.append(entries[at].decode())
        return 1


def record(*lines: str) -> Record:
    return Record(lines, str.encode)


def missing(dropped: Dropped) -> Record:
    return Record((f"{dropped.lines} missing",), str.encode, dropped)


@pytest.fixture
def reader() -> Iterator[Reader]:
    found = Reader()
    yield found
    found.goes_on.set()


def test_records_of_both_lanes_are_written_in_the_order_they_came(reader: Reader) -> None:
    writer = Writer(reader, missing)
    for number in range(50):
        writer.put(record(f"{number}a", f"{number}b"), output=number % 3 == 0)
    reader.goes_on.set()

    assert writer.flush(SOON) == 0
    assert reader.lines == [f"{number}{end}" for number in range(50) for end in "ab"]


def test_what_finds_no_room_is_counted_and_told_at_its_place(reader: Reader) -> None:
    writer = Writer(reader, missing)
    long = "x" * (OWN_BYTES // 4)
    for number in range(10):
        writer.put(record(f"{number}{long}"))
    reader.goes_on.set()
    assert writer.flush(SOON) == 0
    writer.put(record("after"))
    assert writer.flush(SOON) == 0
    told = [line.replace(long, "") for line in reader.lines]
    kept = told.index(next(line for line in told if "missing" in line))

    assert told[:kept] == [str(number) for number in range(kept)]
    assert told[kept:] == [f"{10 - kept} missing", "after"]


def test_a_flood_of_output_leaves_the_supervisors_own_words_alone(reader: Reader) -> None:
    writer = Writer(reader, missing)
    flood = 4 * OUTPUT_BYTES // 1000
    for _ in range(flood):
        writer.put(record("y" * 1000), output=True)
    room = writer.has_room()
    writer.put(record("cutover"))
    reader.goes_on.set()
    assert writer.flush(SOON) == 0
    shown = sum(line.startswith("y") for line in reader.lines)

    assert not room
    assert "cutover" in reader.lines
    assert f"{flood - shown} missing" in reader.lines
    assert 0 < shown < flood


def test_lines_that_cannot_be_written_are_told_of_when_writing_works_again(reader: Reader) -> None:
    writer = Writer(reader, missing)
    reader.fails = True
    reader.goes_on.set()
    writer.put(record("one", "two", "three"))
    assert writer.flush(1.2) == 3  # also after the notice itself could not be written
    reader.fails = False

    assert writer.flush(SOON) == 0
    assert reader.lines == ["3 missing"]


def test_a_flush_ends_in_time_and_says_how_many_lines_are_left(reader: Reader) -> None:
    writer = Writer(reader, missing)
    writer.put(record("one", "two"))
    writer.put(record("three"), output=True)

    assert writer.flush(0.1) == 3


def test_a_pipe_that_somebody_made_non_blocking_gets_every_line() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    writer = Writer(StdoutSink(writing), missing)
    lines = [f"{number:06} {'z' * 93}\n" for number in range(5000)]
    with os.fdopen(reading) as pipe:
        for at in range(0, len(lines), 100):
            writer.put(record(*lines[at : at + 100]))
        found = [pipe.readline() for _ in lines]
    assert writer.flush(SOON) == 0
    os.close(writing)

    assert found == lines
