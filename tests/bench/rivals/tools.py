"""Finds the programs of the alternatives, in .cache (by ./dev) or on the system."""

import importlib.metadata
import os
import shutil
import subprocess
from pathlib import Path

from tests.harness.daemon import ROOT, environment

VENV = ROOT / ".cache" / "bench-venv"
DEBS = ROOT / ".cache" / "bench-debs"  # Debian packages, unpacked and not installed
ASGI = ROOT / "tests" / "bench" / "asgi"
SEARCH = (VENV / "bin", DEBS / "usr/sbin", DEBS / "usr/bin", Path("/usr/sbin"))
ASK_SECONDS = 20.0


def find(program: str) -> str | None:
    path = os.pathsep.join([*map(str, SEARCH), os.environ.get("PATH", "")])
    return shutil.which(program, path=path)


def rival_environment() -> dict[str, str]:
    """Return an environment with the application and the libraries of unpacked packages."""
    libraries = [str(path) for path in DEBS.glob("usr/lib/*-linux-gnu*")]
    found = {**environment(), "PYTHONPATH": str(ASGI), "PERL5LIB": str(DEBS / "usr/share/perl5")}
    if libraries:
        found["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    return found


def pip_version(*packages: str) -> str:
    """Return versions of packages of the alternatives, such as "0.30.1, websockets 15.0"."""
    paths = [str(path) for path in VENV.glob("lib/python*/site-packages")]
    versions = {
        found.metadata["Name"].lower(): found.version
        for found in importlib.metadata.distributions(path=paths)
    }
    first, *rest = packages
    parts = [versions.get(first, "?"), *(f"{name} {versions.get(name, '?')}" for name in rest)]
    return ", ".join(parts)


def said_version(command: list[str]) -> str:
    """Return the first number with dots in the version that a program prints."""
    done = subprocess.run(
        command,
        env=rival_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ASK_SECONDS,
        check=False,
    )
    words = f"{done.stdout} {done.stderr}".replace("/", " ").split()
    numbers = [word for word in words if word[0].isdigit() and "." in word]
    return numbers[0] if numbers else "?"
