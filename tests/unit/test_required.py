"""In CI a skipped test is a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPS = """
import pytest

@pytest.mark.skipif(True, reason="no such kernel")
def test_marked():
    raise AssertionError

def test_in_the_middle():
    pytest.skip("no such tool")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail():
    raise AssertionError
"""


@pytest.mark.parametrize(("required", "failed"), [(None, False), ("require", True)])
def test_a_skip_fails_only_where_everything_is_required(
    tmp_path: Path, required: str | None, failed: bool
) -> None:
    file = tmp_path / "test_skips.py"
    file.write_text(SKIPS)
    variables = {name: text for name, text in os.environ.items() if name != "WSSUPERVISOR_E2E"}
    if required is not None:
        variables["WSSUPERVISOR_E2E"] = required
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "tests.harness.required", f"--rootdir={tmp_path}", file),
        ],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == failed, done.stdout + done.stderr
    assert ("2 skipped" in done.stdout) != failed
    for reason in ("no such kernel", "no such tool"):
        assert (f"Skipped: {reason}\nWith" in done.stdout) == failed
    assert "1 xfailed" in done.stdout
