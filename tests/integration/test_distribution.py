"""What is published: a wheel that runs where there is no compiler, and an sdist of everything."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.harness.daemon import ROOT, Daemon
from tests.harness.fd_store import FdStore
from tests.harness.settings import Settings

SETUPTOOLS = 77  # Debian 12 has 66: there the wheel comes from elsewhere
BUILD = """
from setuptools import build_meta
build_meta.build_wheel("dist")
build_meta.build_sdist("dist")
"""
BUILT_WITHIN = 100
PLACE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def _tracked() -> list[str]:
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in found.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a wheel and an sdist of what is there."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    if int(importlib.metadata.version("setuptools").partition(".")[0]) < SETUPTOOLS:
        pytest.skip(f"setuptools is older than {SETUPTOOLS}")
    source = tmp_path_factory.mktemp("source")
    for name in _tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    done = subprocess.run(
        [sys.executable, "-c", BUILD],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=BUILT_WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    yield source / "dist"
    shutil.rmtree(source)


def test_the_sdist_holds_what_the_repository_holds(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {
            name.partition("/")[2] for name in sdist.getnames() if sdist.getmember(name).isfile()
        }
    generated = {"PKG-INFO", "setup.cfg"}

    assert {name for name in names - generated if ".egg-info/" not in name} == set(_tracked())


def _metadata(wheel: Path) -> str:
    with ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        return archive.read(name).decode()


def test_the_wheel_names_its_licence_by_spdx_and_needs_no_compiler(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    text = _metadata(wheel)
    needed = [line for line in text.splitlines() if line.startswith("Requires-Dist: ")]

    assert {"License-Expression: MIT", "License-File: LICENSE"} <= set(text.splitlines())
    assert {line for line in needed if "systemd-python" in line and "extra ==" not in line} == set()


def _needed_by(requirements: list[str]) -> Iterator[importlib.metadata.Distribution]:
    """The distributions that they name, and what those need in turn; of no extra."""
    for one in requirements:
        name = re.match(r"[A-Za-z0-9._-]+", one)
        assert name is not None
        if "extra ==" in one or ("python_version" in one and "3.1" not in one):
            continue
        found = importlib.metadata.distribution(name[0])
        yield found
        yield from _needed_by(found.requires or [])


def _bare(wheel: Path, place: Path) -> Path:
    """Its Python, in an environment that has the wheel and what it says that it needs alone.

    The dependencies are linked from where these tests have them: no network is needed.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin/python"
    answer = subprocess.run([python, "-c", PLACE], capture_output=True, text=True, check=True)
    site = Path(answer.stdout.strip())
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    said = re.findall(r"^Requires-Dist: (.*)$", _metadata(wheel), re.MULTILINE)
    for one in _needed_by(said):
        for file in one.files or []:
            top = file.parts[0]
            if top not in {"..", "__pycache__"} and not (site / top).exists():
                (site / top).symlink_to(str(one.locate_file(top)))
    return python


def test_the_wheel_alone_serves_and_is_recovered_without_python_systemd(
    built: Path, settings: Settings, tmp_path: Path
) -> None:
    (wheel,) = built.glob("*.whl")
    python = _bare(wheel, tmp_path / "bare")
    missing = subprocess.run([python, "-c", "import systemd"], check=False, capture_output=True)
    assert missing.returncode == 1
    variables = {"PYTHONPATH": ""}
    with (
        FdStore() as store,
        Daemon(settings, sockets=store, python=python, variables=variables) as daemon,
    ):
        daemon.start()
        workers = daemon.active_pids()
        stored = store.names()

        assert store.said("READY=1") == 1
        assert {"wss-control", "wss-slots-ws", "wss-slots-raw"} <= set(stored)
        daemon.die()
        daemon.start()
        assert daemon.active_pids() == workers
        daemon.reload()
        assert daemon.stop() == 0
        assert store.said("STOPPING=1") == 1
        assert json.dumps(store.names()) == "[]"
