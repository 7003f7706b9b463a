"""Where the frames of a client end, whatever it sends and however the bytes arrive."""

import timeit
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.handoff.client_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Frame,
    conversation,
    cut,
    position,
)
from wssupervisor.worker.handoff.frames import KEEP_BYTES, FrameTracker


def fed(*frames: Frame) -> FrameTracker:
    tracker = FrameTracker()
    for frame in frames:
        tracker.feed(frame.encode())
    return tracker


def judge(tracker: FrameTracker, sized: list[tuple[Frame, int]], sent: bytes) -> None:
    expected = position(sized, sent)
    if tracker.too_long:
        assert len(expected.rest) >= 4
        assert tracker.unread == b""
    else:
        assert tracker.unread == expected.rest
    found = (tracker.messages, tracker.fragmented, tracker.closing)
    movable = not (expected.fragmented or expected.closing or tracker.too_long)

    assert found == (expected.messages, expected.fragmented, expected.closing)
    assert tracker.movable == movable


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_it_knows_after_each_piece_what_is_complete(seed: int) -> None:
    random = Random(seed)
    frames = conversation(random, random.randrange(1, 20))
    data = b"".join(frame.encode() for frame in frames)
    sized = [(frame, len(frame.encode())) for frame in frames]
    tracker, at = FrameTracker(), 0
    for part in cut(random, data):
        tracker.feed(part)
        at += len(part)
        judge(tracker, sized, data[:at])


@pytest.mark.parametrize("size", [0, 1, 125, 126, 400, 65_535, 65_536])
def test_a_frame_may_be_cut_at_each_byte_of_its_header(size: int) -> None:
    frame = Frame(BINARY, data=bytes(size)).encode()
    for at in range(min(len(frame), 20)):
        tracker = FrameTracker()
        tracker.feed(frame[:at])
        before = tracker.messages, tracker.movable
        tracker.feed(frame[at:])

        known = at >= (2 if size <= 125 else 4 if size <= 65_535 else 10)

        assert before == (0, len(frame) <= KEEP_BYTES or not known)
        assert (tracker.messages, tracker.unread, tracker.movable) == (1, b"", True)


def test_a_frame_continues_in_another_tracker_from_its_unread_bytes() -> None:
    frame = Frame(TEXT, data=b"half of it, then the rest").encode()
    for at in range(len(frame)):
        before, after = FrameTracker(), FrameTracker()
        before.feed(frame[:at])
        after.feed(before.unread)
        after.feed(frame[at:])

        assert (before.unread, after.messages, after.unread) == (frame[:at], 1, b"")


@pytest.mark.parametrize(("size", "kept"), [(KEEP_BYTES - 8, True), (KEEP_BYTES - 7, False)])
def test_half_a_frame_moves_only_if_the_whole_frame_is_at_most_64_kib(
    size: int, *, kept: bool
) -> None:
    tracker = FrameTracker()
    frame = Frame(BINARY, data=bytes(size)).encode()
    tracker.feed(frame[:5000])

    assert (tracker.movable, tracker.too_long) == (kept, not kept)
    assert len(tracker.unread) == (5000 if kept else 0)
    assert tracker.messages == 0, "it is not complete"


def test_a_fragmented_message_is_one_and_a_ping_inside_ends_nothing() -> None:
    begun = fed(Frame(TEXT, final=False), Frame(PING, data=b"are you there"))
    whole = fed(Frame(TEXT, final=False), Frame(PING), Frame(CONTINUATION))

    assert (begun.messages, begun.fragmented, begun.movable) == (0, True, False)
    assert (whole.messages, whole.fragmented, whole.movable) == (1, False, True)


def test_nothing_is_followed_behind_a_close_frame() -> None:
    tracker = fed(Frame(TEXT), Frame(CLOSE, data=b"\x03\xe8"), Frame(TEXT))
    tracker.feed(b"GET / HTTP/1.1")
    together = FrameTracker()
    together.feed(Frame(CLOSE).encode() + Frame(TEXT).encode() + b"\x81")

    assert (tracker.messages, tracker.closing, tracker.movable) == (1, True, False)
    assert (together.messages, together.closing, together.unread) == (0, True, b"")


def test_an_endless_frame_is_never_complete_and_takes_no_memory() -> None:
    tracker = FrameTracker()
    tracker.feed(b"\x82\xff" + b"\xff" * 8)
    for _ in range(100):
        tracker.feed(bytes(1 << 16))

    assert (tracker.messages, tracker.too_long, tracker.unread) == (0, True, b"")


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.binary(max_size=200)))
def test_any_bytes_are_read_alike_however_they_are_cut(parts: list[bytes]) -> None:
    pieces, whole = FrameTracker(), FrameTracker()
    for part in parts:
        pieces.feed(part)
    whole.feed(b"".join(parts))

    assert (pieces.messages, pieces.fragmented, pieces.closing, pieces.unread) == (
        whole.messages,
        whole.fragmented,
        whole.closing,
        whole.unread,
    )


@pytest.mark.alone
def test_a_message_costs_less_than_3_microseconds() -> None:
    """What a whole handoff may cost. docs/internals/platform.md#what-following-the-frames-costs."""
    tracker = FrameTracker()
    data = Frame(BINARY, data=bytes(50)).encode()
    seconds = min(timeit.repeat(lambda: tracker.feed(data), number=10_000, repeat=9)) / 10_000

    assert seconds < 3e-6
