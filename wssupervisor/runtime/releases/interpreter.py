"""Programs that exist but cannot start because their interpreter or loader is missing.

exec() fails with "No such file or directory" for them, which a shell prints as "not found".
"""

import struct
from contextlib import suppress
from pathlib import Path

from wssupervisor import files
from wssupervisor.errors import ReleaseInvalid

HEAD_BYTES = 4096
LINE_BYTES = 256
"""How much of a #! line the kernel reads (BINPRM_BUF_SIZE)."""
_ELF = b"\x7fELF\x02\x01"
"""64 bits, little-endian; others are not checked."""
_PROGRAM_HEADERS = struct.Struct("<Q14xHH")
_PROGRAM_HEADERS_AT = 32
_SEGMENT = struct.Struct("<IIQQQQ")
PT_INTERP = 3


def refuse_without(program: Path) -> None:
    """Check the program. Raises ReleaseInvalid if its interpreter or loader is missing."""
    try:
        head = files.head(program, HEAD_BYTES)
    except OSError:
        return  # executable, but not readable
    if head.startswith(b"#!"):
        _check_script(program, head[2:LINE_BYTES].split(b"\n")[0])
    elif head.startswith(_ELF):
        with suppress(struct.error):
            _check_loader(program, head)


def _check_script(program: Path, line: bytes) -> None:
    shown = (
        f"[app] command: {program} begins with the line {'#!' + line.decode(errors='replace')!r}"
    )
    if line.endswith(b"\r"):
        raise ReleaseInvalid(
            f"{shown}: it has Windows line endings, which the kernel takes as part of the"
            f" name. Convert it: sed -i 's/\\r$//' {program}"
        )
    words = line.split()
    if not words:
        raise ReleaseInvalid(f"{shown}, which names no interpreter")
    interpreter = Path(words[0].decode(errors="replace"))
    if not interpreter.exists():
        raise ReleaseInvalid(
            f"{shown}: {interpreter} does not exist. Install it, or name an interpreter that"
            " exists (a virtual environment that was moved names its old path)"
        )


def _check_loader(program: Path, head: bytes) -> None:
    at, size, count = _PROGRAM_HEADERS.unpack_from(head, _PROGRAM_HEADERS_AT)
    for number in range(count):
        kind, _, offset, _, _, length = _SEGMENT.unpack_from(head, at + number * size)
        if kind != PT_INTERP:
            continue
        loader = Path(head[offset : offset + length].rstrip(b"\0").decode(errors="replace"))
        if offset + length <= len(head) and not loader.exists():
            raise ReleaseInvalid(
                f"[app] command: {program} was built for another system: its loader {loader}"
                " does not exist"
            )
