"""The two programs, run to their end with an environment of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

SECONDS = 30


def run(module: str, *arguments: str, home: Path, **variables: str) -> tuple[int, str, str]:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TMPDIR": str(home),
        "XDG_RUNTIME_DIR": str(home),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=home,
        env=environment,
    )
    return done.returncode, done.stdout, done.stderr


def wssctl(*arguments: str, home: Path, **variables: str) -> tuple[int, str, str]:
    return run("wssupervisor.commands.cli", *arguments, home=home, **variables)


def wssupervisor(*arguments: str, home: Path, **variables: str) -> tuple[int, str, str]:
    return run("wssupervisor", *arguments, home=home, **variables)
