"""The saved state of a supervisor, truncated, damaged and forged, as its successor reads it."""

import json
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import inputs, odd_files
from tests.fuzz.stage import Stage
from tests.fuzz.target import Target, Wrong, directory
from wssupervisor.errors import OperationFailed
from wssupervisor.runtime.handover.state_file import StateFile, Unusable

HEAD_BYTES = 62
MESSAGE_CHARS = 1000


@dataclass(frozen=True, slots=True)
class Files:
    """`torn`: what is left of it is not whole, so that nothing may be read.

    `odd`: in place of the newer one, that is no file.
    """

    newer: bytes
    older: bytes | None
    torn: bool
    odd: str | None = None


class StateFiles(Target[Files]):
    name = "state"
    fails = (
        "an incomplete file is accepted; a forged one raises an exception other than Unusable (or"
        " OperationFailed, when the fleet is made from it); a reason is long"
    )

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def open(self, stack: ExitStack) -> None:
        given = self._stage.state
        length = int(given[41:51])
        self._whole = given[: HEAD_BYTES + length]  # an older and longer one may stand below
        self._document: dict[str, Any] = json.loads(self._whole[HEAD_BYTES:])
        self._name = self._document["name"]
        self._path = directory(stack) / "control.sock.state"

    def make(self, random: Random) -> Files:
        match random.randrange(6):
            case 0 if random.random() < 0.2:
                older = random.choice((None, self._whole))
                return Files(b"", older, torn=older is None, odd=random.choice(odd_files.KINDS))
            case 0:
                return Files(self._whole[: random.randrange(len(self._whole))], None, torn=True)
            case 1:
                found = bytearray(self._whole)
                found[random.randrange(HEAD_BYTES, len(found))] ^= 1 << random.randrange(8)
                return Files(bytes(found), None, torn=True)
            case 2:
                data = inputs.mutated(random, self._whole)
                return Files(data, random.choice((None, self._whole)), torn=False)
            case 3:
                body = random.choice((inputs.nested(random), inputs.mutated(random, self._body)))
                return Files(written(body), None, torn=False)
            case _:
                document = inputs.mutated_value(random, self._document)
                if isinstance(document, dict) and random.random() < 0.8:
                    document |= {key: self._document[key] for key in ("version", "name", "boot")}
                return Files(written(json.dumps(document).encode()), None, torn=False)

    @property
    def _body(self) -> bytes:
        return self._whole[HEAD_BYTES:]

    def judge(self, given: Files) -> None:
        newer = Path(f"{self._path}.0")
        odd_files.clear(newer)
        if given.odd is None:
            newer.write_bytes(given.newer)
        else:
            odd_files.make(newer, given.odd)
        if given.older is None:
            Path(f"{self._path}.1").unlink(missing_ok=True)
        else:
            Path(f"{self._path}.1").write_bytes(given.older)
        file = StateFile(str(self._path))
        file.user(self._name)
        try:
            found = file.read(self._name)
        except Unusable as error:
            if len(str(error)) > MESSAGE_CHARS:
                raise Wrong(f"the reason has {len(str(error))} characters") from error
            return
        if found is None:
            if given.odd is not None:
                return
            raise Wrong("files that are there were taken for none")
        if given.torn:
            raise Wrong("a torn file was believed")
        try:
            found.document.load_fleet()
        except OperationFailed as error:
            if len(str(error)) > MESSAGE_CHARS:
                raise Wrong(f"the reason has {len(str(error))} characters") from error


def written(body: bytes) -> bytes:
    """With a head that is right for it."""
    return f"wssupervisor-state {7:020} {len(body):010} {zlib.crc32(body):010}\n".encode() + body
