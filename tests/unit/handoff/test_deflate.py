"""A decompressor continues in another process: its window is read, and restored there."""

import zlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wssupervisor.worker.handoff.back_references import back_references
from wssupervisor.worker.handoff.deflate import WindowUnknown, read_window, restored

SYNC = b"\0\0\xff\xff"
ALL_BITS = range(8, 16)
FLUSHES = (zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)


def compressor(bits: int, level: int = 6, memory: int = 8) -> "zlib._Compress":
    """Raw deflate of a client. zlib compresses with no window below 9 bits."""
    return zlib.compressobj(level, wbits=-max(9, bits), memLevel=memory)


def message(random: Random, words: list[bytes]) -> bytes:
    if random.random() < 0.15:
        return random.randbytes(random.choice((0, 1, 2, 3, 260, 5000)))
    return b" ".join(random.choices(words, k=random.choice((0, 1, 3, 30, 600))))


@settings(max_examples=80, deadline=None)
@given(
    bits=st.integers(9, 15),
    level=st.sampled_from([0, 1, 6, 9]),
    memory=st.sampled_from([1, 5, 8, 9]),
    flush=st.sampled_from(FLUSHES),
    seed=st.integers(0, 2**32),
)
def test_a_conversation_continues_over_any_number_of_moves(
    bits: int, level: int, memory: int, flush: int, seed: int
) -> None:
    random = Random(seed)
    words = [random.randbytes(random.randrange(1, 12)).hex().encode() for _ in range(200)]
    client, server = compressor(bits, level, memory), zlib.decompressobj(wbits=-bits)
    plain = b""
    for _ in range(random.randrange(1, 40)):
        said = message(random, words)
        data = client.compress(said) + client.flush(flush)

        assert data.endswith(SYNC)
        assert server.decompress(data) == said
        plain += said
        if random.random() < 0.3:
            window = read_window(server, bits)

            assert window == plain[-(1 << bits) :]
            server = restored(bits, window)  # type: ignore[assignment]


@pytest.mark.parametrize("bits", ALL_BITS)
@pytest.mark.parametrize("history", [0, 1, 2, 3, 4, 63, 255, 256, 257, 511, 512, 513, 32_768])
def test_a_history_of_each_length_is_read(bits: int, history: int) -> None:
    said = Random(history).randbytes(history)
    server = zlib.decompressobj(wbits=-bits)
    stored = compressor(bits, level=0)
    server.decompress(stored.compress(said) + stored.flush(zlib.Z_SYNC_FLUSH))

    assert read_window(server, bits) == said[-(1 << bits) :]


@pytest.mark.parametrize("bits", ALL_BITS)
def test_the_largest_distance_is_still_found_after_a_move(bits: int) -> None:
    said = Random(bits).randbytes(1 << bits)
    server = restored(bits, said)

    assert server.decompress(back_references(1 << bits, 1 << bits)) == said
    assert read_window(server, bits) == said


def test_reading_a_window_leaves_the_decompressor_as_it_was() -> None:
    client, server = compressor(15), zlib.decompressobj(wbits=-15)
    for said in (b"once upon a time", b"once upon a time there was a time"):
        data = client.compress(said) + client.flush(zlib.Z_SYNC_FLUSH)
        before = read_window(server, 15)

        assert read_window(server, 15) == before
        assert server.decompress(data) == said


@given(total=st.integers(3, 40_000), distance=st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_references_repeat_what_was_there(total: int, distance: int) -> None:
    said = Random(distance).randbytes(distance)
    repeated = said * (total // distance + 1)
    server = restored(15, said)

    assert server.decompress(back_references(distance, total)) == repeated[:total]


def test_a_message_that_is_decompressed_in_part_hides_the_window() -> None:
    client, server = compressor(15), zlib.decompressobj(wbits=-15)
    data = client.compress(b"x" * 100_000) + client.flush(zlib.Z_SYNC_FLUSH)
    server.decompress(data, 1000)
    with pytest.raises(WindowUnknown, match="a message is decompressed in part"):
        read_window(server, 15)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0\x30\0\xcf\xff" + b"only a part", id="in a stored block"),
        pytest.param(b"\x4a\x4c\x4a\x06", id="in a block of codes"),
        pytest.param(b"\x03\0", id="behind a last block"),
    ],
)
def test_a_stream_inside_a_block_or_at_its_end_hides_the_window(data: bytes) -> None:
    server = zlib.decompressobj(wbits=-15)
    server.decompress(data)
    with pytest.raises(WindowUnknown, match="not between two messages"):
        read_window(server, 15)


@pytest.mark.parametrize("bits", [0, 7, 16])
def test_a_window_has_8_to_15_bits(bits: int) -> None:
    with pytest.raises(ValueError, match="expected 8 to 15"):
        read_window(zlib.decompressobj(wbits=-15), bits)
    with pytest.raises(ValueError, match="expected 8 to 15"):
        restored(bits, b"")


def test_a_window_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 513 bytes: at most 512 fit 9 bits"):
        restored(9, bytes(513))
