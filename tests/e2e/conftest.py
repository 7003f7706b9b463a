"""Fixtures of the end-to-end tests: a package, and machines with and without it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import layers
from tests.e2e.clients_table import pytest_terminal_summary, record
from tests.e2e.machine import Machine
from tests.e2e.service import Counts, Service

__all__ = ["pytest_terminal_summary", "record"]


@pytest.fixture(scope="session")
def deb() -> Path:
    """The package that is tested."""
    return layers.package()


@pytest.fixture(scope="session")
def base() -> Path:
    """A Debian 13 with what the package depends on."""
    return layers.tree("base")


@pytest.fixture(scope="session")
def installed() -> list[Path]:
    """The trees of a Debian on which the package is installed; the uppermost first."""
    return layers.light(layers.with_package())


@pytest.fixture(scope="session")
def with_servers() -> list[Path]:
    """And with servers: Debian's, and PyPI's newest in /opt/servers."""
    return layers.light(layers.with_servers())


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
