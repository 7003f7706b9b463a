"""What may be at a path in place of a file: nothing of it may hang a reader, or fill its memory."""

import os
import shutil
import socket
from pathlib import Path

HUGE_BYTES = 256 << 20
KINDS = ("fifo", "directory", "socket", "huge", "nowhere", "loop")


def make(path: Path, kind: str) -> None:
    """In place of what is there. `huge`: has no blocks; `nowhere`, `loop`: links."""
    clear(path)
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
        case "huge":
            with path.open("wb") as file:
                file.truncate(HUGE_BYTES)
        case "nowhere":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to(path.name)


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
