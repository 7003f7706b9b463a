"""Whether a path lies in a temporary directory that only the service sees (PrivateTmp=)."""

from pathlib import Path

PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - looked at, not written to
ROOT, MOUNT_POINT = 3, 4
"""Fields of /proc/self/mountinfo (proc_pid_mountinfo(5))."""


def is_private(path: str) -> bool:
    """PrivateTmp= mounts one directory of a file system there, not a whole file system."""
    place = next((one for one in PLACES if path.startswith(f"{one}/")), None)
    if place is None:
        return False
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    mounts = [line.split(" ") for line in lines]
    return any(one[MOUNT_POINT] == place and one[ROOT] != "/" for one in mounts)
