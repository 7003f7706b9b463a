"""A release: what is run, resolved at one moment and pinned, so that a respawn runs the same."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from wssupervisor.config import Config
from wssupervisor.errors import ReleaseInvalid
from wssupervisor.fleet.model import Release
from wssupervisor.runtime.processes import FIRST_DESCRIPTOR

PASSED_ON = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"}
)
"""What a worker gets of the daemon's own environment, besides LC_*."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")


def resolve(config: Config) -> Release:
    """The release as it is on disk now. Raises ReleaseInvalid with what to do."""
    written = config.app.directory.rstrip("/") or "/"
    if not Path(written).is_dir():
        raise ReleaseInvalid(f"[app] directory {written}: no such directory")
    real = os.path.realpath(written)

    def pinned(text: str) -> str:
        return _pinned(text, written, real)

    environment = _inherited()
    for name in config.app.environment_files:
        environment |= _read_environment_file(name)
    environment |= dict(config.app.environment)
    environment = {name: pinned(value) for name, value in environment.items()}
    environment.setdefault("PATH", DEFAULT_PATH)
    command = tuple(pinned(word) for word in config.app.command)
    program = _program(command[0], real, environment["PATH"])
    return Release((program, *command[1:]), real, tuple(sorted(environment.items())))


def _pinned(text: str, written: str, real: str) -> str:
    """The prefix `directory`, as written, becomes the resolved one; nothing else is resolved."""
    if not Path(written).is_absolute():
        return text
    if text == written or text.startswith(written + "/"):
        return real + text[len(written) :]
    return text


def _program(name: str, directory: str, path: str) -> str:
    """The absolute path of what is executed; a venv's python stays a symlink."""
    if "/" in name:
        candidate = Path(directory, name)
        if not candidate.exists():
            raise ReleaseInvalid(f"[app] command: {candidate}: no such file")
        if candidate.is_dir():
            raise ReleaseInvalid(f"[app] command: {candidate} is a directory, not a program")
        if not os.access(candidate, os.X_OK):
            raise ReleaseInvalid(
                f"[app] command: {candidate} is not executable; chmod +x it, or put its"
                " interpreter first"
            )
        return str(candidate)
    found = shutil.which(name, path=path)
    if found is None:
        raise ReleaseInvalid(
            f"[app] command: {name} was not found in PATH ({path}); write it with its full path"
        )
    return found


def _inherited() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith("LC_")
    }


def _read_environment_file(written: str) -> dict[str, str]:
    """NAME=value lines as in systemd's EnvironmentFile=; a leading "-" allows it to be missing."""
    name = written.removeprefix("-")
    try:
        text = Path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        if written.startswith("-"):
            return {}
        raise ReleaseInvalid(
            f'[app] environment_files: {name}: no such file; write "-{name}" if it may be missing'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseInvalid(f"[app] environment_files: {name}: {error}") from None
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        assignment = _ASSIGNMENT.fullmatch(stripped)
        if assignment is None:
            raise ReleaseInvalid(
                f"[app] environment_files: {name}, line {number}: expected NAME=value"
            )
        found[assignment[1]] = _unquoted(assignment[2])
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value


def with_descriptors(command: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Replace {fd} and {fd:NAME} by the number of that listener's descriptor."""
    numbers: Mapping[str, int] = {name: FIRST_DESCRIPTOR + at for at, name in enumerate(names)}
    replacements = {f"{{fd:{name}}}": str(number) for name, number in numbers.items()}
    replacements["{fd}"] = str(FIRST_DESCRIPTOR)
    words = []
    for word in command:
        for placeholder, number in replacements.items():
            word = word.replace(placeholder, number)  # noqa: PLW2901 - one word, several rounds
        words.append(word)
    return tuple(words)
