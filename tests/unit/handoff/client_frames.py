"""Frames as a client sends them (RFC 6455), and what a stream of them amounts to."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

MASK = b"\x5a\x0f\xc3\x81"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    final: bool = True
    data: bytes = b""

    def encode(self) -> bytes:
        length = len(self.data)
        first = bytes([self.opcode | (0x80 if self.final else 0)])
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 1 << 16:
            size = b"\xfe" + length.to_bytes(2, "big")
        else:
            size = b"\xff" + length.to_bytes(8, "big")
        return first + size + MASK + self.data  # not masked: no reader here looks inside


@dataclass(frozen=True, slots=True)
class Position:
    """What is known behind some bytes of a stream."""

    messages: int
    fragmented: bool
    closing: bool
    rest: bytes
    """The bytes of the incomplete frame."""


def position(frames: Sequence[tuple[Frame, int]], sent: bytes) -> Position:
    """Count the frames (each with its size in bytes) that are wholly in `sent`, their beginning."""
    messages, fragmented, left = 0, False, len(sent)
    for frame, size in frames:
        if size > left:
            break
        left -= size
        if frame.opcode == CLOSE:
            return Position(messages, fragmented, closing=True, rest=b"")
        if frame.opcode < CLOSE:
            messages += frame.final
            fragmented = not frame.final
    return Position(messages, fragmented, closing=False, rest=sent[len(sent) - left :])


SIZES = (0, 1, 5, 119, 120, 125, 126, 127, 300, 65_521, 65_522, 65_523, 65_535, 65_536, 200_000)


def conversation(random: Random, count: int) -> list[Frame]:
    """Messages, some in fragments, with control frames between them and between fragments."""
    found: list[Frame] = []
    fragmented = False
    for _ in range(count):
        if random.random() < 0.2:
            body = random.randbytes(random.randrange(126))
            found.append(Frame(random.choice((PING, PONG)), data=body))
            continue
        size = random.choice(SIZES) if random.random() < 0.3 else random.randrange(300)
        final = random.random() < 0.6
        opcode = CONTINUATION if fragmented else random.choice((TEXT, BINARY))
        found.append(Frame(opcode, final, random.randbytes(size)))
        fragmented = not final
    if random.random() < 0.2:
        found.append(Frame(CLOSE, data=b"\x03\xe8"))
    return found


def cut(random: Random, data: bytes) -> list[bytes]:
    """The same bytes as a socket may deliver them."""
    parts, at = [], 0
    while at < len(data):
        step = random.choice((1, 2, 3, 7, 50, 1000, 65_536, 262_144))
        parts.append(data[at : at + step])
        at += step
    return parts
