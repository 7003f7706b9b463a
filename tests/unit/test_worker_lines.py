"""The channel's stream, cut anywhere: each line comes out whole, with its own descriptors."""

import json
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wssupervisor.worker.lines import LINE_BYTES, Line, Lines
from wssupervisor.worker.protocol import Bad, Counts, encode, from_worker

TEXT = st.binary(max_size=12).map(lambda data: data.replace(b"\n", b" "))
SENDS = st.lists(st.tuples(TEXT, st.integers(min_value=0, max_value=2)), max_size=8)


def pieces(sends: list[tuple[bytes, tuple[int, ...]]], sizes: list[int]) -> list[Line]:
    """What reads of these sizes return, as the kernel reads a stream of AF_UNIX.

    A read takes bytes of several sends, up to the first one with descriptors; its descriptors come
    with its first byte.
    """
    waiting = [(data, rights) for data, rights in sends if data]
    found = []
    for size in [*sizes, *[1000] * len(waiting)]:
        piece, rights = b"", tuple[int, ...]()
        while waiting and len(piece) < size and not rights:
            data, rights = waiting.pop(0)
            taken = data[: size - len(piece)]
            piece += taken
            if rest := data[len(taken) :]:
                waiting.insert(0, (rest, ()))
        if piece:
            found.append(Line(piece, rights))
    assert not waiting
    return found


@given(SENDS, st.lists(st.integers(min_value=1, max_value=20), max_size=30))
def test_lines_come_out_whole_with_their_descriptors_however_they_are_read(
    given_lines: list[tuple[bytes, int]], sizes: list[int]
) -> None:
    numbers = count(3)
    sent = [Line(data, tuple(next(numbers) for _ in range(rights))) for data, rights in given_lines]
    lines, found = Lines(), list[Line]()
    for piece in pieces([(line.data + b"\n", line.descriptors) for line in sent], sizes):
        found += lines.feed(piece.data, piece.descriptors)

    assert found == sent
    assert lines.begun == b""


@given(SENDS, st.integers(min_value=0))
def test_a_successor_continues_a_line(given_lines: list[tuple[bytes, int]], at: int) -> None:
    stream = b"".join(data + b"\n" for data, _ in given_lines)
    cut = at % (len(stream) + 1)
    before = Lines()
    found = before.feed(stream[:cut])
    found += Lines(before.begun).feed(stream[cut:])

    assert [line.data for line in found] == [data for data, _ in given_lines]


@given(st.dictionaries(st.text(), st.text() | st.dictionaries(st.text(), st.text())), st.data())
def test_a_line_without_its_beginning_is_never_a_message(
    more: dict[str, object], data: st.DataObject
) -> None:
    """So a successor may believe the first line that it reads, if it is valid."""
    line = json.dumps({"x": more, "type": "ready", "y": '{"type": "ready"}'}).encode()
    torn = line[data.draw(st.integers(min_value=1, max_value=len(line) - 1)) :]

    with pytest.raises(Bad):
        from_worker(torn)


def test_the_first_newline_after_a_death_ends_what_was_half_sent() -> None:
    half = encode(Counts(1))[:9]

    assert Lines().feed(half + b"\n" + encode(Counts(2))) == [
        Line(half),
        Line(encode(Counts(2)).removesuffix(b"\n")),
    ]


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_of_a_line_that_is_too_long_no_more_is_stored_than_shows_it(more: int) -> None:
    lines = Lines()
    found = []
    for _ in range(4):
        found += lines.feed(b"x" * ((LINE_BYTES + more) // 4))
    found += lines.feed(b"x" * ((LINE_BYTES + more) % 4))

    assert (found, lines.is_too_long) == ([], more > 0)
    assert lines.begun == b"x" * min(LINE_BYTES + more, LINE_BYTES + 1)
    assert lines.feed(b"\nnext\n") == [
        Line(b"x" * min(LINE_BYTES + more, LINE_BYTES + 1)),
        Line(b"next"),
    ]
