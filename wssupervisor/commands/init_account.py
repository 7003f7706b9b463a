"""The user of a new instance, what sharing a user means, and whether it needs home directories."""

import hashlib
import os
import pwd
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from wssupervisor.errors import OperationFailed

PREFIX = "wss-"
"""Prefix of the name of an instance's own user."""
USER_CHARS = 31
HASH_CHARS = 6
UNITS = "etc/systemd/system"
HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= hides."""
SYSUSERS = "systemd-sysusers"
SYSUSERS_SECONDS = 30


def own_user(instance: str) -> str:
    """Name of the user of this instance alone. An invalid name is changed, and ends with a hash."""
    found = f"{PREFIX}{instance}"
    if len(found) <= USER_CHARS and re.fullmatch(r"[A-Za-z0-9_-]+", instance):
        return found
    end = "-" + hashlib.sha256(instance.encode()).hexdigest()[:HASH_CHARS]
    plain = re.sub(r"[^A-Za-z0-9_-]", "-", found)
    return plain[: USER_CHARS - len(end)] + end


def check_exists(user: str) -> None:
    """Raises OperationFailed."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise OperationFailed(
            f"there is no user {user!r}. Create it with `useradd --system --shell /usr/sbin/nologin"
            f" {user}`, or omit --user: the instance gets its own user"
        ) from None


def sysusers_file(root: str, instance: str) -> Path:
    return Path(root, "etc/sysusers.d", f"wssupervisor-{instance}.conf")


def sysusers_text(instance: str) -> str:
    return (
        f"# The user of this instance alone. Made by {SYSUSERS}, now and at each boot.\n"
        f'u {own_user(instance)} - "Workers of instance {instance} of wssupervisor" - -\n'
    )


def may_make(root: str) -> bool:
    return Path(root) == Path("/") and os.geteuid() == 0 and shutil.which(SYSUSERS) is not None


def make(file: Path) -> None:
    """Raises OperationFailed."""
    done = subprocess.run(
        [SYSUSERS, str(file)],
        capture_output=True,
        text=True,
        timeout=SYSUSERS_SECONDS,
        check=False,
    )
    if done.returncode:
        raise OperationFailed(f"{SYSUSERS} {file} failed: {done.stderr.strip()}")


def group(user: str) -> int | None:
    """Its primary group; None without such a user."""
    try:
        return pwd.getpwnam(user).pw_gid
    except KeyError:
        return None


def sharing(root: str, instance: str, user: str) -> str | None:
    """What it means that other instances run as this user; None if none does."""
    others = sorted(
        file.parent.name.removeprefix("wssupervisor@").removesuffix(".service.d")
        for file in Path(root, UNITS).glob("wssupervisor@*.service.d/*.conf")
        if f"User={user}" in _lines(file)
    )
    others = [one for one in dict.fromkeys(others) if one != instance]
    if not others:
        return None
    return (
        f"user {user} also runs {', '.join(others)}: each of these instances can read the secrets"
        f" of the others, reload them, and end their workers. Without --user, {instance} gets its"
        " own user"
    )


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return []


def needs_homes(user: str, directory: str | None, command: Iterable[str]) -> bool:
    """Whether the release, the program, the user's files or this package are below a home."""
    places = [sys.prefix, __file__, *command]
    if directory is not None:
        places += [directory, *(os.path.join(directory, word) for word in command)]  # noqa: PTH118
    try:
        own = pwd.getpwnam(user).pw_dir
    except KeyError:
        own = ""
    if Path(own).is_dir():
        places.append(own)
    return any(
        _below_home(path)
        for place in places
        if os.path.isabs(place)  # noqa: PTH117 - words of a command, not paths
        for path in (place, os.path.realpath(place))
    )


def _below_home(path: str) -> bool:
    return any(path == home or path.startswith(f"{home}/") for home in HOMES)
