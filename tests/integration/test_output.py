"""What a worker writes is kept for us, whether or not it is read."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from examples.load.waiting import HANG_SECONDS
from wssupervisor.runtime.workers.output import LAST_LINES, LINE_BYTES, Ends, Output
from wssupervisor.runtime.workers.relay_program import LIMIT_BYTES, bound

TURN_SECONDS = 0.05


@pytest.fixture
def made() -> Iterator[tuple[Output, Ends]]:
    output, ends = Output.create("test")
    yield output, ends
    ends.close()
    output.close()


@pytest.fixture
def output(made: tuple[Output, Ends]) -> Output:
    return made[0]


def write(output: Output, data: bytes) -> None:
    """As the relay does."""
    os.pwrite(output.descriptor, data, os.fstat(output.descriptor).st_size)


def lines(output: Output) -> list[str]:
    """All that were not read yet; the log has them at once."""
    found = []
    while output.unread():
        for some, written in output.read().pieces:
            found += some
            written()
    return found


def kibibytes(output: Output) -> int:
    """Memory behind it now."""
    return os.fstat(output.descriptor).st_blocks // 2


def test_lines_come_as_they_were_written(output: Output) -> None:
    write(output, b"one\ntw")
    first = lines(output)
    write(output, b"o\n\nlast")

    assert first == ["one"]
    assert lines(output) == ["two", ""]
    assert [*lines(output), *output.rest().lines] == ["last"]
    assert output.last_lines() == ("one", "two", "", "last")


def test_only_the_last_lines_are_kept(output: Output) -> None:
    write(output, b"".join(b"%d\n" % number for number in range(200)))
    lines(output)

    assert output.last_lines() == tuple(str(number) for number in range(200 - LAST_LINES, 200))


def test_a_line_does_nothing_to_a_terminal(output: Output) -> None:
    write(output, b"\x1b[31mred\xff\tend\r\n")

    assert lines(output) == ["\\x1b[31mred\\xff\tend"]


def test_a_long_line_is_cut(output: Output) -> None:
    write(output, b"x" * (LINE_BYTES + 5) + b"\n")

    assert [len(line) for line in lines(output)] == [LINE_BYTES, 5]


def test_a_line_that_never_ends_is_passed_on_all_the_same(output: Output) -> None:
    write(output, b"x" * (3 * LINE_BYTES))

    assert sum(len(line) for line in lines(output)) >= 2 * LINE_BYTES


def test_memory_is_given_back_once_the_log_has_the_lines_and_not_before(output: Output) -> None:
    data = b"".join(b"%07d\n" % number for number in range(10_000))
    write(output, data)
    pieces = []
    while output.unread():
        pieces += output.read().pieces
    read = kibibytes(output)
    written = 0
    for some, when_written in pieces[:10]:
        when_written()
        written += 8 * len(some)
        assert output.save().written_to == written
    at = os.lseek(output.descriptor, 0, os.SEEK_DATA)

    assert sum(len(some) for some, _ in pieces) == 10_000
    assert read == -(-len(data) // 4096) * 4
    assert at == written // 4096 * 4096
    for _, when_written in pieces[10:]:
        when_written()
    assert kibibytes(output) <= 4


def test_the_start_of_a_line_is_kept_until_its_end_is_written(output: Output) -> None:
    write(output, b"one\n" + b"x" * 5000)
    [(_, one_written)] = output.read().pieces
    one_written()

    assert output.save().written_to == len("one\n")
    assert os.lseek(output.descriptor, 0, os.SEEK_DATA) == 0


def test_a_log_that_is_written_after_its_output_was_closed_frees_nothing() -> None:
    output, ends = Output.create("closed")
    write(output, b"x" * 8000 + b"\n")
    pieces = output.read().pieces
    other = os.dup(output.descriptor)
    ends.close()
    output.close()
    for _, written in pieces:
        written()

    assert os.lseek(other, 0, os.SEEK_DATA) == 0
    os.close(other)


def test_memory_is_given_back_as_it_is_written(output: Output) -> None:
    for _ in range(64):
        write(output, b"y" * 99 + b"\n" * 1 + b"z" * 99900)
    grown = kibibytes(output)
    lines(output)

    assert grown > 6000
    assert kibibytes(output) <= 8


def test_harmless_lines_are_read_like_others(output: Output) -> None:
    write(output, "täglich\tgrüßt\n\n\u200b\n".encode() + b"caf\xe9\nlast\n")

    assert lines(output) == ["täglich\tgrüßt", "", "\\u200b", "caf\\xe9", "last"]


def test_what_is_given_up_is_counted_to_the_byte(output: Output) -> None:
    written = [b"%07d %s\n" % (number, b"x" * 91) for number in range(200_000)]
    write(output, b"".join(written[:10]))
    first = lines(output)
    for at in range(10, len(written), 10_000):
        write(output, b"".join(written[at : at + 10_000]))
        bound(output.descriptor)
    told, skipped = [*first], 0
    gaps = 0
    while output.unread():
        words = output.read()
        skipped += words.skipped
        gaps += bool(words.skipped)
        told += words.lines
    numbers = [int(line[:7]) for line in told]

    assert LIMIT_BYTES < sum(map(len, written))
    assert gaps == 1
    assert numbers == sorted(numbers)
    assert numbers[-1] == len(written) - 1
    assert skipped == 100 * (len(written) - len(told))


def test_the_last_lines_are_the_last_that_were_written_however_few_were_read(
    output: Output,
) -> None:
    write(output, b"".join(b"%d\n" % number for number in range(100_000)) + b"FATAL: no database")
    output.read()
    last = output.last_lines()

    assert len(last) == LAST_LINES
    assert last[-3:] == ("99998", "99999", "FATAL: no database")
    assert output.unread() > 0


def test_last_lines_are_those_read_and_those_not_read_yet(output: Output) -> None:
    write(output, b"one\ntwo\nth")
    lines(output)
    write(output, b"ree\nfour\n")

    assert output.last_lines() == ("one", "two", "three", "four")


def test_a_flood_of_empty_lines_is_read_in_small_turns(output: Output) -> None:
    write(output, b"\n" * (6 << 20))
    turns = []
    count = 0
    while output.unread():
        begun = time.thread_time()
        count += len(output.read().lines)
        turns.append(time.thread_time() - begun)

    assert count == 6 << 20
    assert max(turns) < TURN_SECONDS


SHELL = """
echo one
echo two > /dev/stderr
echo three >&2
: > /dev/stdout
echo four >> /dev/stderr
echo five
"""


def test_a_shell_script_writes_to_its_standard_streams_by_name(
    made: tuple[Output, Ends],
) -> None:
    output, ends = made
    subprocess.run(
        ["bash", "-c", SHELL],
        stdout=ends.output,
        stderr=ends.errors,
        timeout=HANG_SECONDS,
        check=True,
    )
    output.move()

    assert lines(output) == ["one", "two", "three", "four", "five"]


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the user")
def test_a_program_that_has_changed_its_user_opens_them_too(made: tuple[Output, Ends]) -> None:
    output, ends = made
    subprocess.run(
        ["sh", "-c", "echo x > /dev/stderr"],
        stdout=ends.output,
        stderr=ends.errors,
        timeout=HANG_SECONDS,
        user="nobody",
        check=True,
    )
    output.move()

    assert lines(output) == ["x"]


def test_a_writer_does_not_fail_when_all_who_read_have_died() -> None:
    output, ends = Output.create("test")
    code = "import time\nfor n in range(20): print(n, flush=True); time.sleep(0.02)"
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=ends.output, pass_fds=[ends.spare]
    )
    ends.close()
    output.close()

    assert writer.wait(HANG_SECONDS) == 0


def test_all_that_a_writer_wrote_before_it_ended_is_waited_for(
    made: tuple[Output, Ends],
) -> None:
    output, ends = made
    subprocess.run(["echo", "the end"], stdout=ends.output, timeout=HANG_SECONDS, check=True)
    before = output.is_complete()
    output.move()

    assert not before
    assert output.is_complete()
    assert lines(output) == ["the end"]
