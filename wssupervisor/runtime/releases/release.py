"""A release: resolved at one moment and pinned, so that a respawn runs the same program."""

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from wssupervisor.config.model import Config
from wssupervisor.errors import ReleaseInvalid
from wssupervisor.files import read_text
from wssupervisor.fleet.model import Release
from wssupervisor.runtime.kernel.descriptors import FIRST_DESCRIPTOR
from wssupervisor.runtime.releases import path_access
from wssupervisor.runtime.releases.environment_file import parse_environment
from wssupervisor.runtime.releases.interpreter import refuse_without
from wssupervisor.runtime.releases.pinning import pin

PASSED_ON = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "XDG_RUNTIME_DIR"),
        # Variables with directories that systemd made for the service, and so for its workers.
        *("CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY"),
    }
)
"""Variables that a worker inherits from the daemon by default, besides LC_*."""

FILE_BYTES_MAX = 1 << 20
"""Limit of an environment file. The kernel's limit for a new process is about twice that."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def resolve(config: Config, own: Mapping[str, str] | None = None) -> Release:
    """The release as it is on disk now. Raises ReleaseInvalid with what to do.

    `own`: the daemon's environment; by default this process's.
    """
    # The path as written: pinning needs the unresolved form.
    written = os.path.normpath(os.path.abspath(config.app.directory))  # noqa: PTH100
    real = _directory(config.app.directory)

    def pinned(text: str) -> str:
        return pin(text, written, real)

    environment = _environment(config, os.environ if own is None else own, pinned)
    command = tuple(pinned(word) for word in config.app.command)
    program = _program(command[0], real, environment["PATH"])
    return Release((program, *command[1:]), real, tuple(sorted(environment.items())))


def _environment(
    config: Config, own: Mapping[str, str], pinned: Callable[[str], str]
) -> dict[str, str]:
    """Inherited variables, files, pass_environment, [app.environment]: the later wins."""
    found = {
        name: value for name, value in own.items() if name in PASSED_ON or name.startswith("LC_")
    }
    for name in config.app.environment_files:
        found |= _read_environment_file(name, pinned(name.removeprefix("-")))
    for name in config.app.pass_environment:
        known = name.removeprefix("-")
        if known in own:
            found[known] = own[known]
        elif known == name and known not in found:
            raise ReleaseInvalid(_not_set(name))
    found |= dict(config.app.environment)
    found.setdefault("PATH", DEFAULT_PATH)
    return {name: pinned(value) for name, value in found.items()}


def not_set(config: Config, own: Mapping[str, str]) -> list[str]:
    """Names in pass_environment that are required and that `own` lacks."""
    return [
        name for name in config.app.pass_environment if not name.startswith("-") and name not in own
    ]


def _not_set(name: str) -> str:
    return (
        f"[app] pass_environment: {name} is set neither in the daemon's environment nor in a file"
        " of environment_files. Set it there (Environment= of the unit, docker run -e) and restart,"
        f' or write "-{name}" if it may be missing'
    )


def _directory(written: str) -> str:
    """The resolved directory. Resolved first, then checked: the symlink may change in between."""
    what = f"[app] directory {written}"
    real = os.path.realpath(written)
    leads = "" if real == written else f" (it leads to {real})"
    mode = _mode(real, what)
    if mode is None:
        raise ReleaseInvalid(f"{what}: no such directory{leads}{path_access.hidden_home(real)}")
    if not stat.S_ISDIR(mode):
        raise ReleaseInvalid(f"{what}: not a directory{leads}")
    if not os.access(real, os.X_OK):
        raise ReleaseInvalid(f"{what}: this user may not enter it{leads}")
    return real


def _mode(path: str | Path, what: str) -> int | None:
    """The mode of the file; None if there is none. Raises ReleaseInvalid if it is hidden."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116 - Path's methods hide errors, depending on the version
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ReleaseInvalid(f"{what}: {path_access.advice(path, error)}") from None


def _program(name: str, directory: str, path: str) -> str:
    """The absolute path of the program; a venv's python stays a symlink."""
    if "/" not in name:
        return _found_in_path(name, directory, path)
    candidate = Path(directory, name)
    mode = _mode(candidate, f"[app] command: {candidate}")
    if mode is None:
        hint = path_access.hidden_home(os.path.realpath(candidate))
        raise ReleaseInvalid(f"[app] command: {candidate}: no such file{hint}")
    if stat.S_ISDIR(mode):
        raise ReleaseInvalid(f"[app] command: {candidate} is a directory, not a program")
    if not stat.S_ISREG(mode):
        raise ReleaseInvalid(f"[app] command: {candidate} is not a regular file")
    if not os.access(candidate, os.X_OK):
        raise ReleaseInvalid(_not_executable(candidate))
    refuse_without(candidate)
    return str(candidate)


def _found_in_path(name: str, directory: str, path: str) -> str:
    """Searches PATH as a shell in the release's directory does."""
    plain: Path | None = None
    for entry in path.split(os.pathsep):
        candidate = Path(directory, entry, name)
        try:
            mode = os.stat(candidate).st_mode  # noqa: PTH116 - as above
        except OSError:
            continue  # missing or hidden: the next entry may have it
        if not stat.S_ISREG(mode):
            continue
        if os.access(candidate, os.X_OK):
            refuse_without(candidate)
            return str(candidate)
        plain = plain or candidate
    if plain is not None:
        raise ReleaseInvalid(_not_executable(plain))
    if " " in name:
        raise ReleaseInvalid(
            f"[app] command: no program is named {name!r}. Write the program and each argument as a"
            f" separate string: {', '.join(map(json.dumps, name.split()))}"
        )
    raise ReleaseInvalid(
        f"[app] command: {name} was not found in PATH ({path}). Give its full path"
    )


def _not_executable(candidate: Path) -> str:
    return (
        f"[app] command: {candidate} is not executable. Run `chmod +x {candidate}`, or put its"
        " interpreter before it"
    )


def _read_environment_file(written: str, path: str) -> dict[str, str]:
    """Read one file; a "-" before its name means that it may be missing."""
    what = f"[app] environment_files: {written.removeprefix('-')}"
    try:
        return parse_environment(read_text(path, FILE_BYTES_MAX))
    except FileNotFoundError:
        if written.startswith("-"):
            return {}
        raise ReleaseInvalid(
            f'{what}: no such file. Write "-{written}" if it may be missing'
        ) from None
    except OSError as error:
        raise ReleaseInvalid(f"{what}: {path_access.advice(path, error)}") from None
    except UnicodeDecodeError as error:
        raise ReleaseInvalid(f"{what}: not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise ReleaseInvalid(f"{what}, {error}") from None


def with_descriptors(command: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Replace {fd} and {fd:NAME} with the number of the listener's descriptor."""
    numbers: Mapping[str, int] = {name: FIRST_DESCRIPTOR + at for at, name in enumerate(names)}
    replacements = {f"{{fd:{name}}}": str(number) for name, number in numbers.items()}
    replacements["{fd}"] = str(FIRST_DESCRIPTOR)
    words = []
    for word in command:
        for placeholder, number in replacements.items():
            word = word.replace(placeholder, number)  # noqa: PLW2901 - one word, several rounds
        words.append(word)
    return tuple(words)
