"""Releases as an operator keeps them: directories, and a `current` symlink that is switched."""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

WORKERS = Path(__file__).parent / "workers"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Releases:
    """`root/releases/NAME`, and `root/current`, which names one of them."""

    root: Path

    @property
    def current(self) -> Path:
        return self.root / "current"

    def make(self, name: str, variant: str = "well") -> Path:
        """A release whose `run` starts that worker; it is not current yet."""
        release = self.root / "releases" / name
        release.mkdir(parents=True)
        own = WORKERS / f"{variant}.py"
        shutil.copy(own if own.exists() else WORKERS / "serving.py", release / "app.py")
        run = release / "run"
        # Workers that use the library import the project itself.
        run.write_text(
            f'#!/bin/sh\nexec env PYTHONPATH="{ROOT}" "{sys.executable}" "{release}/app.py"'
            f" {variant}\n"
        )
        run.chmod(0o755)
        return release

    def switch(self, name: str) -> Path:
        """Make `name` current, atomically, as deployment tools do; it need not exist."""
        release = self.root / "releases" / name
        new = self.root / "current.new"
        new.symlink_to(release)
        os.rename(new, self.current)  # noqa: PTH104 - rename(2), which replaces a symlink
        return release

    def install(self, name: str, variant: str = "well") -> Path:
        self.make(name, variant)
        return self.switch(name)
