"""docs/topics/threat-model.md: each line of it is held by a test, and that test exists."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/topics/threat-model.md"
PARTIES = (
    "Remote client",
    "Page in a browser",
    "Local user",
    "Member of the instance's group",
    "Worker",
    "Owner of the release directory",
    "Root",
)
_ROW = re.compile(r"^\| (can|cannot) \| (.+) \| (.*)\|$")
_TEST = re.compile(r"`([a-z0-9]+/test_\w+\.py)::(test_\w+)(?:\[(\w+)\])?`")


@dataclass(frozen=True, slots=True)
class Row:
    party: str
    can: bool
    text: str
    tests: tuple[tuple[str, str], ...]


def rows(page: str) -> Iterator[Row]:
    """Each line of each table. A table's line of any other form is an assertion's failure."""
    party = ""
    for line in page.splitlines():
        if line.startswith("## "):
            party = line.removeprefix("## ")
        elif line.startswith("|") and party in PARTIES and not line.startswith(("| |", "|---")):
            found = _ROW.match(line)
            assert found is not None, f"not a row: {line}"
            tests = tuple((file, name) for file, name, _ in _TEST.findall(found[3]))
            yield Row(party, found[1] == "can", found[2], tests)


@cache
def names_in(file: str) -> frozenset[str]:
    path = ROOT / "tests" / file
    if not path.exists():
        return frozenset()
    nodes = ast.walk(ast.parse(path.read_text()))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in nodes if isinstance(node, kinds))


def missing(page: str) -> list[str]:
    """Lines without a test, and tests that do not exist."""
    found = []
    for row in rows(page):
        if not row.tests:
            found.append(f"{row.party}: no test: {row.text}")
        found += [f"{file}::{name}" for file, name in row.tests if name not in names_in(file)]
    return found


@pytest.fixture
def page() -> str:
    return (ROOT / PAGE).read_text()


def test_each_line_names_a_test_that_exists(page: str) -> None:
    assert missing(page) == []


def test_it_says_of_each_party_what_it_can_and_what_it_cannot(page: str) -> None:
    said = {(row.party, row.can) for row in rows(page)}

    assert said == {(party, can) for party in PARTIES for can in (True, False)}


def test_it_lists_what_is_fuzzed(page: str) -> None:
    table = page.partition("## What is fuzzed")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)

    assert sorted(listed) == sorted(TARGETS)


def test_the_readme_links_to_it() -> None:
    assert f"]({PAGE})" in (ROOT / "README.md").read_text()


def test_a_line_without_a_test_and_a_test_that_is_gone_are_found() -> None:
    page = (
        "## Worker\n| | | test |\n|---|---|---|\n| can | serve | |\n"
        "| cannot | fly | `docs/test_threat_model.py::test_it_flies` |\n"
        "| cannot | be | `docs/test_nowhere.py::test_it_is` |\n"
        "| can | read | `docs/test_threat_model.py::test_the_readme_links_to_it` |\n"
    )

    assert missing(page) == [
        "Worker: no test: serve",
        "docs/test_threat_model.py::test_it_flies",
        "docs/test_nowhere.py::test_it_is",
    ]
