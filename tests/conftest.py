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

from tests.harness.alone import require_machine
from tests.harness.releases import Releases
from tests.harness.required import pytest_runtest_makereport
from tests.harness.settings import Settings

__all__ = ["pytest_runtest_makereport"]

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


@pytest.fixture(autouse=True)
def has_the_machine(request: pytest.FixtureRequest) -> None:
    """A test that measures does so on a machine that does nothing else."""
    if request.node.get_closest_marker("alone"):
        require_machine()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side each process begins with its share of the storms and other slow tests.

    pytest-xdist gives each process a run of neighbours, and lets one that is done steal from the
    others.
    """
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if count == 1:
        return
    slow = [item for item in items if _is_slow(item)]
    slow.sort(key=lambda item: item.get_closest_marker("slow") is None)  # the slowest of all first
    others = [item for item in items if not _is_slow(item)]
    size = math.ceil(len(others) / count)
    items[:] = [
        item
        for share in range(count)
        for item in (*slow[share::count], *others[share * size : (share + 1) * size])
    ]


def _is_slow(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(name) for name in ("slow", "storm"))


SLOW_SECONDS = 20.0


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Name the tests that took long and give no reason for it."""
    found = [
        f"{report.duration:5.1f} s  {report.nodeid}"
        for report in terminalreporter.getreports("passed")
        if report.duration > SLOW_SECONDS and not {"slow", "storm"} & set(report.keywords)
    ]
    if found:
        terminalreporter.section(f"more than {SLOW_SECONDS:g} s without @pytest.mark.slow(REASON)")
        terminalreporter.write_line("\n".join(found))
