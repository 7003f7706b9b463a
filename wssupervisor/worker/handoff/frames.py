"""Where the frames of a client end, found from the bytes alone (RFC 6455, section 5.2).

A connection can move if its application has received each message that has arrived. The parsers of
WebSocket libraries do not show that, so the bytes are followed here. Pure, no I/O. One message
costs 0.3 us (docs/internals/platform.md#what-following-the-frames-costs).
"""

KEEP_BYTES = 64 * 1024
"""Size of the largest frame whose first part moves with its connection, with its header."""

_FINAL = 0x80
_MASKED = 0x80
_OPCODE = 0x0F
_CONTROL = 0x08
_CLOSE = 0x08
_LENGTH = 0x7F
_LENGTH_16 = 126
_LENGTH_64 = 127
_MASK_BYTES = 4


class FrameTracker:
    """Follows what a client sends, from its first byte behind the handshake, cut in any places.

    It never raises: a client that breaks the protocol is the library's to close. What follows a
    close frame is ignored.
    """

    __slots__ = ("_beyond", "_first", "_need", "_partial", "closing", "fragmented", "messages")

    def __init__(self) -> None:
        self.messages = 0
        """Messages that are complete. Control frames are none."""
        self.fragmented = False
        """Whether a message has begun whose last frame is not complete."""
        self.closing = False
        """Whether the client has sent a close frame."""
        self._partial = bytearray()  # the incomplete frame, if it may move
        self._need = 0  # bytes of that frame; 0 while its header is incomplete
        self._beyond = 0  # bytes that a longer frame still lacks
        self._first = 0  # the first byte of that longer frame

    @property
    def unread(self) -> bytes:
        """The bytes of the incomplete frame, which its connection takes along."""
        return bytes(self._partial)

    @property
    def too_long(self) -> bool:
        """Whether a frame of more than KEEP_BYTES is under way: it must be complete first."""
        return self._beyond > 0

    @property
    def movable(self) -> bool:
        """Whether nothing is under way but, at most, `unread`."""
        return not (self._beyond or self.fragmented or self.closing)

    def feed(self, data: bytes) -> None:
        """Follow the next bytes."""
        if len(data) > 1 and not (self._partial or self._beyond or self.closing):
            # Nearly always one whole short frame: 2 bytes of header, 4 of mask, and the rest.
            length = data[1] - _MASKED
            if 0 <= length < _LENGTH_16 and length == len(data) - 2 - _MASK_BYTES:
                self._complete(data[0])
                return
        self._follow(data)

    def _follow(self, data: bytes) -> None:
        at = 0
        if self._beyond:
            at = min(self._beyond, len(data))
            self._beyond -= at
            if self._beyond:
                return
            self._complete(self._first)
        elif self._partial:
            if len(self._partial) + len(data) < self._need:
                self._partial += data
                return
            data = bytes(self._partial) + data
            self._partial = bytearray()
        self._follow_frames(data, at)

    def _follow_frames(self, data: bytes, at: int) -> None:
        """Follow what begins with a frame at that offset."""
        end = len(data)
        while at < end and not self.closing:
            need = _frame_bytes(data, at, end)
            if need == 0 or at + need > end:
                self._keep(data, at, need)
                return
            self._complete(data[at])
            at += need

    def _keep(self, data: bytes, at: int, need: int) -> None:
        """Remember the incomplete frame that begins there."""
        if need > KEEP_BYTES:
            self._beyond, self._first = need - (len(data) - at), data[at]
        else:
            self._partial, self._need = bytearray(data[at:]), need

    def _complete(self, first: int) -> None:
        """Record a complete frame, by its first byte."""
        if first & _CONTROL:
            if first & _OPCODE == _CLOSE:
                self.closing = True
        elif first & _FINAL:
            self.messages += 1
            self.fragmented = False
        else:
            self.fragmented = True


def _frame_bytes(data: bytes, at: int, end: int) -> int:
    """Return the size of the frame at that offset, with its header. 0: the header is incomplete."""
    if end - at < 2:
        return 0
    second = data[at + 1]
    length = second & _LENGTH
    head = 2 + (_MASK_BYTES if second & _MASKED else 0)
    if length < _LENGTH_16:
        return head + length
    size = 2 if length == _LENGTH_16 else 8
    if end - at < 2 + size:
        return 0
    return head + size + int.from_bytes(data[at + 2 : at + 2 + size], "big")
