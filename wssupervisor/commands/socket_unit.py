"""The slots that the socket unit of an instance lists in its drop-ins."""

from pathlib import Path
from typing import TYPE_CHECKING

from wssupervisor.files import read_text
from wssupervisor.plural import count

if TYPE_CHECKING:
    from wssupervisor.config.model import Config

FILE_BYTES_MAX = 1 << 20
UNITS = "etc/systemd/system"


def warnings(config: "Config", path: str) -> list[str]:
    """A warning if the socket unit of a configuration in /etc/wssupervisor lists too few slots."""
    passed = [one for one in config.listeners if one.address is None]
    found = _slots(config.name, path) if len(passed) == 1 else None
    if found is None:
        return []
    place, slots = found
    workers, wanted = config.app.workers, config.slots_wanted()
    if slots > 2 * workers:
        return []
    if slots <= workers + 1:
        what = "every reload is refused"
    else:
        what = "workers of a new generation must share slots"
    text = (
        f"{place} lists {count(slots, 'slot')}. With {count(workers, 'worker')} {what}. Repeat its"
        f" ListenStream= line {wanted} times, run `systemctl daemon-reload`, then restart both"
        " units, which closes all connections: `systemctl restart"
        f" wssupervisor@{config.name}.socket wssupervisor@{config.name}.service`"
    )
    return [text]


def _slots(name: str, path: str) -> tuple[Path, int] | None:
    """The drop-in that decides, and how many it lists; None without a drop-in or slots."""
    directory = Path(path).absolute().parent
    if (directory.parent.name, directory.name) != ("etc", "wssupervisor"):
        return None
    place, addresses, steered = None, list[str](), True
    for file in sorted(
        (directory.parents[1] / UNITS / f"wssupervisor@{name}.socket.d").glob("*.conf")
    ):
        for line in _lines(file):
            key, _, value = (part.strip() for part in line.partition("="))
            if key == "ListenStream":
                addresses = [*addresses, value] if value else []
                place = file
            elif key == "ReusePort":
                steered = value.lower() in {"yes", "true", "on", "1"}
    if place is None or not steered or any(one.startswith("/") for one in addresses):
        return None
    return place, len(addresses)


def _lines(file: Path) -> list[str]:
    try:
        return read_text(file, FILE_BYTES_MAX).splitlines()
    except (OSError, UnicodeDecodeError):
        return []
