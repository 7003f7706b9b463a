"""The window of a decompressor: read in one process, put into a new decompressor in another.

permessage-deflate with context takeover (RFC 7692) compresses a message with the text of those
before it. Between two messages the whole state of the receiving side is its window: the last
2**bits bytes of plain text. Python's zlib does not hand the window out, but a copy of the
decompressor produces it from a block of back-references. Nothing is recorded while a connection
serves, and only public functions are used
(docs/internals/platform.md#a-window-is-read-with-back-references).

The sending side needs no state: every inflater can follow a compressor that begins without history.
Pure, no I/O.
"""

import zlib
from bisect import bisect_left
from typing import Protocol

from wssupervisor.worker.handoff.back_references import (
    LENGTH_MIN,
    back_references,
    literals,
)

BITS_MIN, BITS_MAX = 8, 15
"""Window sizes of permessage-deflate, as powers of 2."""

_MARK = b"a mark of ours"
_AS_MARK = literals(_MARK)
"""A decompressor inside a block produces something else from it, or fails."""


class WindowUnknown(ValueError):
    """The decompressor is not between two messages, so that its window is not its whole state."""


class Decompressor(Protocol):
    """What `zlib.decompressobj` returns."""

    @property
    def unconsumed_tail(self) -> bytes: ...

    def copy(self) -> "Decompressor": ...

    def decompress(self, data: bytes, /) -> bytes: ...


def read_window(decompressor: Decompressor, bits: int) -> bytes:
    """Return the last 2**bits bytes that it has produced, or all of them if there are fewer.

    `bits` is the size that the decompressor was made with, 8 to 15. The decompressor is not
    changed. Raises WindowUnknown.
    """
    size = _size(bits)
    _check_between_messages(decompressor)
    if not _reaches(decompressor, size):
        size = bisect_left(range(1, size), x=True, key=lambda at: not _reaches(decompressor, at))
    if not size:
        return b""
    produced = decompressor.copy().decompress(back_references(size, max(size, LENGTH_MIN)))
    return produced[:size]  # a history of 1 or 2 bytes repeats itself


def restored(bits: int, window: bytes) -> Decompressor:
    """Return a decompressor of raw deflate that continues behind this window.

    Raises ValueError if the window has more than 2**bits bytes.
    """
    if len(window) > _size(bits):
        raise ValueError(f"a window of {len(window)} bytes: at most {_size(bits)} fit {bits} bits")
    if not window:
        return zlib.decompressobj(wbits=-bits)
    return zlib.decompressobj(wbits=-bits, zdict=window)


def _size(bits: int) -> int:
    if not BITS_MIN <= bits <= BITS_MAX:
        raise ValueError(f"a window of {bits} bits: expected {BITS_MIN} to {BITS_MAX}")
    return 1 << bits


def _check_between_messages(decompressor: Decompressor) -> None:
    if decompressor.unconsumed_tail:
        raise WindowUnknown("a message is decompressed in part")
    try:
        found = decompressor.copy().decompress(_AS_MARK)
    except (zlib.error, ValueError):  # ValueError: its stream has ended, so it cannot be copied
        found = b""
    if found != _MARK:
        raise WindowUnknown("the compressed stream is not between two messages")


def _reaches(decompressor: Decompressor, distance: int) -> bool:
    """Whether it has produced that many bytes which it still knows."""
    try:
        decompressor.copy().decompress(back_references(distance, LENGTH_MIN))
    except zlib.error:
        return False
    return True
