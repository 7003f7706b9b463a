"""Paths into a release through a symlink that the next deploy may switch.

They cannot be pinned: they stand in files, or do not name the configured directory.
"""

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from wssupervisor import files
from wssupervisor.fleet.model import Release
from wssupervisor.runtime.releases.pinning import paths_in

LINKS_MAX = 40
"""The kernel's limit (path_resolution(7))."""
HEAD_BYTES = 4096
FILE_BYTES_MAX = 1 << 16
FILES_MAX = 1000
BELOW_DIRECTORY = "Write it as a path below [app] directory, which is pinned"
NEW_VENV = (
    "Create the virtual environment in the release's own directory, or give the interpreter as the"
    ' first word of the command, such as "bin/python"'
)


def unpinned(release: Release) -> list[str]:
    """Return one sentence for each such path. Reads the release's files; skips unreadable ones."""
    found = [
        f"{place}: {path} leads into the release through {link}, which the next deploy may switch:"
        f" a worker started after that would mix two releases. {advice}"
        for place, path, advice in _paths(release)
        if (link := _way_round(path, release.directory)) is not None
    ]
    return list(dict.fromkeys(found))


def _paths(release: Release) -> Iterator[tuple[str, str, str]]:
    """Place, path, and advice if it is not pinned."""
    program = release.command[0]
    yield "[app] command", program, NEW_VENV
    for word in release.command[1:]:
        for path in paths_in(word):
            yield "[app] command", path, BELOW_DIRECTORY
    for name, value in release.environment:
        for path in paths_in(value):
            yield f"variable {name}", path, BELOW_DIRECTORY
    for number, line in enumerate(_first_lines(program), 1):
        for path in paths_in(line.removeprefix("#!")):
            yield f"{program}, line {number}", path, NEW_VENV
    venv = Path(program).parent.parent
    for line in _lines(venv / "pyvenv.cfg"):
        key, equals, value = line.partition("=")
        if equals and key.strip() == "home":
            yield str(venv / "pyvenv.cfg"), value.strip(), NEW_VENV
    for file in sorted(islice(venv.glob("lib/python*/site-packages/*.pth"), FILES_MAX)):
        for line in _lines(file):
            if line.startswith("/"):
                yield str(file), line.strip(), "Install it into the virtual environment without -e"


def _first_lines(program: str) -> Sequence[str]:
    """The #! line of a script; two lines if it starts a shell that runs the real interpreter."""
    try:
        head = files.head(program, HEAD_BYTES)
    except OSError:
        return ()
    if not head.startswith(b"#!"):
        return ()
    lines = head.decode("utf-8", "replace").splitlines()
    return lines[:2] if lines[0].rstrip().endswith("/sh") else lines[:1]


def _lines(path: Path) -> Sequence[str]:
    try:
        return files.read_regular(path, FILE_BYTES_MAX).decode("utf-8", "replace").splitlines()
    except OSError:
        return ()


def _way_round(path: str, real: str) -> str | None:
    """The symlink outside the release through which a path leads into it; None if none."""
    rest = os.path.join(real, path).split("/")  # noqa: PTH118
    at, way, links = "/", None, 0
    rest.reverse()
    while rest:
        name = rest.pop()
        if name in ("", "."):
            continue
        if name == "..":
            at = os.path.dirname(at)  # noqa: PTH120
            continue
        here = os.path.join(at, name)  # noqa: PTH118
        if way is not None and _is_below(here, real):
            return way
        try:
            target = os.readlink(here)  # noqa: PTH115
        except OSError:
            at = here
            continue
        links += 1
        if links > LINKS_MAX:
            return None
        if not _is_below(here, real):
            way = here
        if target.startswith("/"):
            at = "/"
        rest += reversed(target.split("/"))
    return None


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
