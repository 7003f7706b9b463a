"""Branch coverage of `fleet/` by its own unit tests; pyproject.toml has the floor.

A process of its own runs them, so that nothing else that uses the fleet counts. `./dev test` runs
them here alone.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def coverage(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COVERAGE_FILE": str(data)}
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
    data = tmp_path / "coverage"
    options = ("-q", "-p", "no:cacheprovider")
    tests = coverage("run", "-m", "pytest", *options, "tests/unit/fleet", data=data)

    assert tests.returncode == 0, tests.stdout

    report = coverage("report", data=data)

    assert report.returncode == 0, report.stdout
