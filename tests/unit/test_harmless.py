"""Text from elsewhere: a terminal obeys nothing in it."""

import io

import pytest

from wssupervisor.commands.streams import Canvas, Stream, draw
from wssupervisor.commands.terminal import ERASE_LINE, Span, Style, colored, line, plain
from wssupervisor.harmless import harmless

CASES = [
    ("chat 42, été, 聊天", "chat 42, été, 聊天"),
    ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
    ("\x9b31m\x85", r"\x9b31m\x85"),
    ("user\u202etxt.exe", r"user\u202etxt.exe"),
    ("one\rtwo\x08\x7f", r"one\rtwo\x08\x7f"),
    ("two\nlines\tof\u2028it", "two\nlines\tof\\u2028it"),
    ("not UTF-8 \udcff", r"not UTF-8 \udcff"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_cannot_be_printed_is_escaped(text: str, expected: str) -> None:
    assert harmless(text) == expected


def test_a_part_of_a_line_has_no_other_line() -> None:
    one = line(Span("release\nreload r2: generation 9 serves", Style.BAD), "\tx")

    assert plain(one) == r"release\nreload r2: generation 9 serves\tx"
    assert colored(one).count("\x1b") == 2


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_a_stream_writes_no_escape_sequence_but_what_is_drawn(text: str, expected: str) -> None:
    below = io.StringIO()
    stream = Stream(below)
    print(text, file=stream)
    draw(ERASE_LINE, stream)  # type: ignore[arg-type]
    Canvas(stream).write("\x1b[1m")  # type: ignore[arg-type]

    assert below.getvalue() == f"{expected}\n{ERASE_LINE}\x1b[1m"
