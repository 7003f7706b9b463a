"""Fixtures of the end-to-end tests: a package, and machines with and without it."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients_table import pytest_terminal_summary, record
from tests.e2e.machine import Machine
from tests.e2e.service import Counts, Service

ROOT = Path(__file__).resolve().parents[2]
__all__ = ["pytest_terminal_summary", "record"]

TREE = ROOT / "packaging/tree"
LAYERS = ROOT / ".cache/e2e"
WHEELS = ROOT / ".cache/servers"
TREE_SECONDS = 600
INSTALL_SECONDS = 240


@pytest.fixture(scope="session")
def deb() -> Path:
    """The package that is tested; `./dev e2e` builds it."""
    found = sorted((ROOT / "dist").glob("wssupervisor_*_all.deb"))
    assert len(found) == 1, f"expected one package in dist, found {found}; run ./dev deb"
    return found[0]


def layered(base: Path, deb: Path, wheels: Path | None, script: str) -> list[Path]:
    """The trees of a Debian after a script, which finds the package in /deb; uppermost first."""
    parts = [deb.read_bytes(), base.name.encode(), script.encode()]
    if wheels is not None:
        parts += [path.name.encode() for path in sorted(wheels.iterdir())]
    layer = LAYERS / f"{base.name}-{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}"
    LAYERS.mkdir(parents=True, exist_ok=True)
    with (LAYERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not layer.exists():
            for old in LAYERS.glob(f"{base.name}-*"):
                shutil.rmtree(old)
            new = layer.with_suffix(".new")
            binds = ["--bind", f"{deb.parent}:/deb"]
            if wheels is not None:
                binds += ["--bind", f"{wheels}:/wheels"]
            subprocess.run(
                [
                    *(str(TREE), "run", base.name.partition("-")[0], "--keep", str(new), *binds),
                    *("sh", "-c", f"dpkg --install /deb/{deb.name} && {script}"),
                ],
                stdout=subprocess.DEVNULL,
                check=True,
                timeout=INSTALL_SECONDS,
            )
            new.rename(layer)
    return [layer, base]


def tree(name: str) -> Path:
    """Where that Debian is; it is made if need be."""
    assert os.geteuid() == 0, "containers with a systemd of their own need root"
    assert shutil.which("systemd-nspawn"), "apt-get install systemd-container"
    done = subprocess.run(
        [TREE, "path", name], stdout=subprocess.PIPE, text=True, check=True, timeout=TREE_SECONDS
    )
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def base() -> Path:
    """A Debian 13 with what the package depends on."""
    return tree("base")


@pytest.fixture(scope="session")
def installed(base: Path, deb: Path) -> list[Path]:
    """The trees of a Debian on which the package is installed; the uppermost first."""
    return layered(base, deb, None, "true")


@pytest.fixture(scope="session")
def with_servers(deb: Path) -> list[Path]:
    """And with servers: Debian's, and PyPI's newest in /opt/servers."""
    assert WHEELS.is_dir(), "run ./dev e2e, which downloads servers from PyPI"
    script = (
        "python3 -m venv --system-site-packages /opt/servers && /opt/servers/bin/pip --quiet"
        " install --no-index --no-deps /wheels/*.whl"
        " && systemctl mask nginx.service haproxy.service"
    )
    return layered(tree("servers"), deb, WHEELS, script)


@pytest.fixture
def server_machine(with_servers: list[Path], tmp_path: Path) -> Iterator[Machine]:
    with Machine(with_servers, tmp_path) as found:
        yield found


@pytest.fixture
def machine(installed: list[Path], tmp_path: Path) -> Iterator[Machine]:
    """With the package installed, and no instance."""
    with Machine(installed, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def standing(installed: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Instance chat, which serves: one for all tests of a module that change nothing of it."""
    with Machine(installed, tmp_path_factory.mktemp("standing")) as machine:
        found = Service(machine, lambda _: None)
        found.release("one")
        found.init()
        found.start()
        yield found


@pytest.fixture
def bare(base: Path, tmp_path: Path) -> Iterator[Machine]:
    """Without the package."""
    with Machine([base], tmp_path) as found:
        yield found


@pytest.fixture
def new(machine: Machine, record: Callable[[Counts], None]) -> Service:
    """Instance chat: release "one" and its files are there, and it is not started."""
    found = Service(machine, record)
    found.release("one")
    found.init()
    return found


@pytest.fixture
def chat(new: Service) -> Service:
    """Instance chat, which serves."""
    new.start()
    return new
