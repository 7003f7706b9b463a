"""Branch coverage of `fleet/` by its own unit tests and a few walks; pyproject.toml has the floor.

A process of its own runs them, so that nothing else that uses the fleet counts.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WALKS = "20"


def coverage(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COVERAGE_FILE": str(data), "WSSUPERVISOR_EXAMPLES": WALKS}
    return subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        cwd=ROOT,
        env=environment,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=280,  # pytest's own limit would not show what it printed
    )


def test_each_module_of_the_fleet_that_decides_has_its_own_tests() -> None:
    modules = (ROOT / "wssupervisor" / "fleet").glob("*.py")
    deciding = {one.stem for one in modules if re.search(r"^ *def ", one.read_text(), re.MULTILINE)}
    tested = {one.stem for one in (ROOT / "tests" / "unit" / "fleet").glob("test_*.py")}

    assert {f"test_{one}" for one in deciding} == tested


def test_the_branches_of_the_fleet_are_covered_by_its_own_tests(tmp_path: Path) -> None:
    pytest.importorskip("coverage", reason="no coverage here: ./dev test measures it")
    data = tmp_path / "coverage"
    files = ("tests/unit/fleet", "tests/property/test_fleet.py")
    options = ("-q", "-p", "no:cacheprovider", "--hypothesis-seed=0")  # the same walks each time
    tests = coverage("run", "-m", "pytest", *options, *files, data=data)

    assert tests.returncode == 0, tests.stdout

    report = coverage("report", data=data)

    assert report.returncode == 0, report.stdout
