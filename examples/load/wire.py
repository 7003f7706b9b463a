"""The client side of RFC 6455 and of the greeting, as bytes in and bytes out.

Written by hand because thousands of clients share two cores with the servers that they measure. The
servers use the real `websockets` library.
"""

import re
import struct
from dataclasses import dataclass
from enum import IntEnum

KEY = "d3NzdXBlcnZpc29yIDEyMw=="
HEAD_LIMIT = 16 * 1024
SERVER_TEXT = 0x81  # the first byte of a whole text frame; a server's has no mask
NO_MASK = b"\0\0\0\0"  # a client must mask; a key of zeros is legal and free

_GREETING = re.compile(rb"generation (\d+)\D+process (\d+)")


class Opcode(IntEnum):
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class WireError(Exception):
    """The server sent something that a WebSocket server does not send here."""


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first message of every server here: the generation and the process that answer."""

    generation: int
    pid: int


def greeting(text: bytes) -> Greeting:
    found = _GREETING.search(text)
    if found is None:
        raise WireError(f"not a greeting: {text[:60]!r}")
    return Greeting(int(found[1]), int(found[2]))


def upgrade_request(host: str, port: int, path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def client_frame(opcode: Opcode, payload: bytes = b"") -> bytes:
    """One final, masked frame of at most 64 KiB."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    return head + NO_MASK + payload


class Receiver:
    """Parses the bytes of a server: first the answer to the upgrade, then frames."""

    def __init__(self) -> None:
        self.upgraded = False
        self._data = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames completed by `data`. Raises WireError if the upgrade was refused."""
        self._data += data
        if not self.upgraded and not self._read_head():
            return []
        frames = []
        while (frame := self._next_frame()) is not None:
            frames.append(frame)
        return frames

    def _read_head(self) -> bool:
        head, separator, rest = self._data.partition(b"\r\n\r\n")
        if not separator:
            if len(self._data) > HEAD_LIMIT:
                raise WireError("the answer to the upgrade has no end")
            return False
        status = head.split(b"\r\n", 1)[0]
        if not status.startswith(b"HTTP/1.1 101"):
            raise WireError(f"upgrade refused: {status[:60].decode(errors='replace')}")
        self._data = rest
        self.upgraded = True
        return True

    def _next_frame(self) -> Frame | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size == 126:
            if len(data) < 4:
                return None
            size, start = struct.unpack_from("!H", data, 2)[0], 4
        elif size == 127:
            raise WireError("a frame of more than 64 KiB")
        if len(data) < start + size:
            return None
        self._data = data[start + size :]
        return Frame(data[0] & 0x0F, data[start : start + size])
