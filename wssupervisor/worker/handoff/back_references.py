"""Blocks of raw deflate, made by hand (RFC 1951): they make an inflater repeat what it produced.

Pure, no I/O. `deflate.py` feeds them to copies of a decompressor to read its window.
"""

from functools import cache

LENGTH_MIN = 3
LENGTH_MAX = 258
"""Bytes that one back-reference repeats."""

_END_OF_BLOCK = 256
_EMPTY_STORED = 0xFFFF0000
"""LEN and NLEN of a stored block without bytes, as one little-endian number."""


def _ladder(base: int, codes: int, step: int) -> list[tuple[int, int]]:
    """Return (first value, extra bits) of each code: the bits grow by one every `step` codes."""
    found = []
    for code in range(codes):
        bits = max(0, code // step - 1)
        found.append((base, bits))
        base += 1 << bits
    return found


_DISTANCES = _ladder(base=1, codes=30, step=2)
_LENGTHS = [*_ladder(base=LENGTH_MIN, codes=28, step=4), (LENGTH_MAX, 0)]


class _Bits:
    """A stream of bits, the first one in the lowest bit of the first byte."""

    def __init__(self) -> None:
        self._value = self._count = 0

    def number(self, value: int, bits: int) -> None:
        self._value |= value << self._count
        self._count += bits

    def code(self, value: int, bits: int) -> None:
        """Write a Huffman code: its highest bit comes first."""
        for at in reversed(range(bits)):
            self.number((value >> at) & 1, 1)

    def begin(self) -> None:
        """Begin a block of fixed codes that is not the last one."""
        self.number(0, 1)
        self.number(1, 2)

    def end(self) -> bytes:
        """End the block, add an empty stored block and return all.

        The empty block makes an inflater produce everything at once, and ends at a whole byte.
        """
        _symbol(self, _END_OF_BLOCK)
        self.number(0, 3)  # stored, not the last block
        self._count = (self._count + 7) // 8 * 8
        self.number(_EMPTY_STORED, 32)
        return self._value.to_bytes(self._count // 8, "little")


def _symbol(bits: _Bits, symbol: int) -> None:
    """Write a length symbol or the end of the block in the fixed code."""
    if symbol < 280:
        bits.code(symbol - 256, 7)
    else:
        bits.code(0b11000000 + symbol - 280, 8)


def _find(ladder: list[tuple[int, int]], value: int) -> int:
    """Return the last code that begins at or below the value."""
    return max(code for code, (base, _) in enumerate(ladder) if base <= value)


def _reference(bits: _Bits, length: int, distance: int) -> None:
    code = _find(_LENGTHS, length)
    base, extra = _LENGTHS[code]
    _symbol(bits, 257 + code)
    bits.number(length - base, extra)
    code = _find(_DISTANCES, distance)
    base, extra = _DISTANCES[code]
    bits.code(code, 5)
    bits.number(distance - base, extra)


def _lengths(total: int) -> list[int]:
    """Return lengths of references that repeat `total` bytes together, LENGTH_MIN or more each."""
    whole, rest = divmod(total, LENGTH_MAX)
    found = [LENGTH_MAX] * whole
    if 0 < rest < LENGTH_MIN:
        found[-1] -= LENGTH_MIN
        rest += LENGTH_MIN
    return [*found, rest] if rest else found


def literals(text: bytes) -> bytes:
    """Return a block that an inflater turns into this text, of ASCII."""
    bits = _Bits()
    bits.begin()
    for byte in text:
        bits.code(0b00110000 + byte, 8)
    return bits.end()


@cache
def back_references(distance: int, total: int) -> bytes:
    """Return a block that repeats `total` bytes, each from `distance` bytes before it.

    `distance`: 1 to 32,768. `total`: 0 or at least LENGTH_MIN.
    """
    bits = _Bits()
    bits.begin()
    for length in _lengths(total):
        _reference(bits, length, distance)
    return bits.end()
