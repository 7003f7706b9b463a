"""The file to which a supervisor saves its state at each step, for the successor after its death.

Two files are written by turns. A death in the middle of a write leaves the other file with the
state before the step, of which no action was begun yet. The files are next to the control socket
(under systemd on a tmpfs) and contain the workers' environment. A supervisor that ends removes
them.
"""

import contextlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EFBIG
from functools import cache
from pathlib import Path

from wssupervisor import __version__, bounded_json
from wssupervisor.control.socket_file import identity
from wssupervisor.files import size
from wssupervisor.fleet.orders import Order
from wssupervisor.fleet.snapshot import plain, typed
from wssupervisor.own_directory import OwnDirectory
from wssupervisor.runtime.handover import document
from wssupervisor.runtime.handover.document import HandoverDocument

VERSION = 1
"""Version of the format; state of another version is set aside."""
SUFFIX = ".state"
"""Appended to the control socket's path, followed by .0 or .1."""
_HEADER = re.compile(rb"wssupervisor-state ([0-9]{20}) ([0-9]{10}) ([0-9]{10})\n")
HEADER_BYTES = 62
ASIDE = ".aside"
"""Appended to the name of a file that no supervisor will use."""
SHOWN_CHARS = 200
BYTES_MAX = 16 << 20
"""More than any fleet needs: a few KiB per worker, and the environment of each release."""


class Unusable(Exception):
    """The state must not be trusted; the text is the reason."""


@dataclass(frozen=True, slots=True)
class SavedState:
    """`at`: when it was written, CLOCK_MONOTONIC of the boot `boot`.

    `supervisor`: id of the writer, as in its workers' environment; `user`: the writer's effective
    uid. `orders`: the last step's orders to workers; see `Recovered`. The descriptors in `document`
    are numbers in a process that has ended.
    """

    version: int
    name: str
    boot: str
    supervisor: str
    at: float
    user: int
    orders: tuple[Order, ...]
    document: HandoverDocument


class StateFile:
    """Owns both files and their descriptors."""

    def __init__(self, path: str) -> None:
        self.path = path
        """Path of both files, without their endings."""
        self._paths = [f"{path}.0", f"{path}.1"]
        self._directory = OwnDirectory(Path(path).parent)
        self._names = [Path(one).name for one in self._paths]
        self._files: list[int] = []
        self._sequence = 0

    def is_there(self) -> bool:
        """Whether a successor would find the files that were written last. Raises OSError."""
        return bool(self._files) and all(
            identity(path) == (found.st_dev, found.st_ino)
            for path, found in zip(self._paths, map(os.fstat, self._files), strict=True)
        )

    def exists(self) -> bool:
        """Whether a file has one of these names, readable or not."""
        return any(os.path.lexists(path) for path in self._paths)

    def write(self, saved: SavedState) -> None:
        """Save the state. If it raises OSError, both files are removed."""
        self.write_plain(plain(saved))

    def write_plain(self, saved: Mapping[str, object]) -> None:
        """Like `write`, for a state that already consists of JSON types."""
        try:
            if not self._files:
                self._open()
            elif not self.is_there():
                self.close()  # deleted: a successor would not find these files
                self._open()
            self._sequence += 1
            parts = [memoryview(_with_head(self._sequence, json.dumps(saved).encode()))]
            file, at = self._files[self._sequence % 2], 0
            while parts[0]:
                written = os.pwrite(file, parts[0], at)
                parts[0], at = parts[0][written:], at + written
        except OSError:
            self.remove()  # their contents are out of date
            raise

    def _open(self) -> None:
        """Open both files, with sequence numbers above those of earlier writers."""
        self._sequence = max((sequence for sequence, _ in self._contents()[0]), default=0)
        for name in self._names:
            self._files.append(self._directory.open(name, os.O_RDWR | os.O_CREAT, 0o600))

    def read(self, name: str) -> SavedState | None:
        """The last state that was written completely; None without files. Raises Unusable."""
        found, why = self._contents()
        if not found:
            if self.exists():
                raise Unusable(why or "it is incomplete")
            return None
        _, text = max(found)
        try:
            data = bounded_json.parse(text)
            version, program = data["version"], data["document"]["program"]
            own = (VERSION, document.VERSION)
            if (version, data["document"]["version"]) != own:
                raise Unusable(
                    f"wssupervisor {str(program)[:SHOWN_CHARS]} wrote it, in a format that"
                    f" {__version__} does not know"
                )
            saved: SavedState = typed(SavedState, data)
        except (LookupError, TypeError, ArithmeticError, ValueError, AttributeError) as error:
            raise Unusable(f"it cannot be read: {repr(error)[:SHOWN_CHARS]}") from error
        if saved.boot != boot_id():
            raise Unusable("it is from another boot of this machine")
        if saved.name != name:
            raise Unusable(f"it belongs to instance {saved.name[:SHOWN_CHARS]!r}")
        return saved

    def user(self, name: str) -> int | None:
        """The effective uid of the supervisor that wrote the state; None without a usable state."""
        try:
            found = self.read(name)
        except Unusable:
            return None
        return None if found is None else found.user

    def close(self) -> None:
        files, self._files = self._files, []
        for file in files:
            with contextlib.suppress(OSError):  # reports an earlier write; the file is closed
                os.close(file)

    def remove(self) -> None:
        """Remove both files. Never raises."""
        self.close()
        with contextlib.suppress(OSError):
            self._directory.remove(*self._names)

    def set_aside(self) -> str:
        """Rename the files, so that no supervisor uses them; return a pattern of their names."""
        self.close()
        for name in self._names:
            with contextlib.suppress(OSError):
                self._directory.replace(name, name + ASIDE)
        self.remove()  # what could not be renamed
        return f"{self._directory.path / self._names[0][:-1]}*{ASIDE}"

    def remove_aside(self) -> None:
        with contextlib.suppress(OSError):
            self._directory.remove(*(name + ASIDE for name in self._names))

    def _contents(self) -> tuple[list[tuple[int, bytes]], str | None]:
        """Sequence number and text of each complete file; why a file could not be read."""
        found, why = [], None
        for name in self._names:
            try:
                data = self._directory.read(name, BYTES_MAX)
            except FileNotFoundError:
                continue
            except OSError as error:
                why = f"{self._directory.path / name}: {error.strerror or error}"
                continue
            head = _HEADER.match(data)
            if head is None:
                continue
            sequence, length, checksum = (int(part) for part in head.groups())
            body = data[head.end() : head.end() + length]
            if len(body) == length and zlib.crc32(body) == checksum:
                found.append((sequence, body))
        return found, why


def _with_head(sequence: int, body: bytes) -> bytes:
    """The body with its header. Raises OSError if a successor could not read that much."""
    if len(body) > BYTES_MAX - HEADER_BYTES:
        raise OSError(EFBIG, f"it is larger than {size(BYTES_MAX)}")
    head = f"wssupervisor-state {sequence:020} {len(body):010} {zlib.crc32(body):010}\n"
    return head.encode() + body


@cache
def boot_id() -> str:
    """Return the id of the current boot. Raises OSError."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
