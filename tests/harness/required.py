"""In CI what a test needs and does not find is a failure, and not a skip."""

import os
from collections.abc import Generator
from typing import Any

import pytest


def required() -> bool:
    """Whether nothing may be skipped: WSSUPERVISOR_E2E=require, as in .ci/run."""
    return os.environ.get("WSSUPERVISOR_E2E") == "require"


@pytest.hookimpl(hookwrapper=True)  # Debian 12's pluggy has no other wrappers
def pytest_runtest_makereport() -> Generator[None, Any, None]:
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and required():
        where = report.longrepr  # of a skip: file, line, reason
        reason = where[2] if isinstance(where, tuple) else where
        report.outcome = "failed"
        report.longrepr = f"{reason}\nWith WSSUPERVISOR_E2E=require a skipped test is a failure."
