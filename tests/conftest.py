"""Fixtures of all tests: releases in a directory of the test's own, and a unique name."""

import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.harness.releases import Releases
from tests.harness.settings import Settings

_numbers = itertools.count(1)

# CI judges the same code by the same examples each time; who works on it, and ./dev hunt, look
# elsewhere. Hypothesis takes numbers from whatever modules are loaded: a run of one file alone has
# other examples than the whole suite, and so has any change of a constant.
hypothesis.settings.register_profile("judge", derandomize=True)
if "CI" in os.environ:
    hypothesis.settings.load_profile("judge")

# As the daemon has it: with rich, structlog's own default looks at all variables, for seconds.
structlog.configure(
    [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
)


def unique_name() -> str:
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


@pytest.fixture
def settings(releases: Releases) -> Settings:
    """Of an instance whose current release, "one", behaves well."""
    releases.install("one")
    return Settings(unique_name(), releases)


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """For a control socket: pytest's own directories may be too long for one."""
    path = Path(tempfile.mkdtemp(prefix="wss-"))
    yield path
    shutil.rmtree(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side each process begins with its share of the storms, which are long.

    pytest-xdist gives each process a run of neighbours, and lets who is done steal from the others.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count == 1:
        return
    storms = [item for item in items if item.get_closest_marker("storm")]
    others = [item for item in items if not item.get_closest_marker("storm")]
    size = math.ceil(len(others) / count)
    items[:] = [
        item
        for share in range(count)
        for item in (*storms[share::count], *others[share * size : (share + 1) * size])
    ]
