"""What became of all clients: each test says its own, and the end of the run shows a table."""

from collections.abc import Callable

import pytest

from tests.e2e.service import Counts

COLUMNS = ("held", "broken", "new", "lost", "misrouted")


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[Counts], None]:
    """Put the counts of a load into the table."""

    def put(counts: Counts) -> None:
        figures = [getattr(counts, column) for column in COLUMNS]
        request.node.user_properties.append(("clients", figures))

    return put


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Each test that had clients: how many, and what became of them."""
    rows = [
        (report.nodeid.partition("::")[2], [sum(column) for column in zip(*found, strict=True)])
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        if (found := [value for name, value in report.user_properties if name == "clients"])
    ]
    if not rows:
        return
    servers = {
        report.nodeid.partition("::")[2]: str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == "server"
    }
    rows = [(servers.get(name, name), counts) for name, counts in rows]
    rows.sort()
    rows.append(("all", [sum(column) for column in zip(*(row[1] for row in rows), strict=True)]))
    width = max(len(name) for name, _ in rows)
    terminalreporter.section("clients")
    terminalreporter.line("  ".join([" " * width, *(f"{name:>9}" for name in COLUMNS)]))
    for name, counts in rows:
        terminalreporter.line("  ".join([name.ljust(width), *(f"{one:>9}" for one in counts)]))
