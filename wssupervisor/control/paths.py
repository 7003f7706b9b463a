"""Where an instance's control socket is; the daemon and wssctl must agree."""

import os
import tempfile
from pathlib import Path

SOCKET = "control.sock"
SYSTEM = Path("/run/wssupervisor")


def _private() -> Path:
    """This user's directory below the temporary one, where there is no runtime directory."""
    return Path(tempfile.gettempdir(), f"wssupervisor-{os.geteuid()}")


def roots() -> list[Path]:
    """Every directory that may hold instances, the one for a new daemon of this user first."""
    found = []
    if os.geteuid() == 0:
        found.append(SYSTEM)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        found.append(Path(runtime, "wssupervisor"))
    found.append(_private())
    if SYSTEM not in found:
        found.append(SYSTEM)
    return found


def daemon_path(name: str) -> str:
    """Where a daemon of this name listens; systemd's RuntimeDirectory= wins."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        return str(Path(given.split(":")[0], SOCKET))
    return str(roots()[0] / name / SOCKET)


def running() -> dict[str, str]:
    """Instance name to socket path of all that look alive (a socket is there)."""
    found: dict[str, str] = {}
    for root in roots():
        try:
            names = sorted(os.listdir(root))  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            path = root / name / SOCKET
            if path.is_socket():
                found.setdefault(name, str(path))
    return found
