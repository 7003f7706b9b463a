"""What documents and docstrings refer to exists: pages, headings, files, and names of checks."""

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.house.picture import TOP, House
from wssupervisor.fleet.state import State

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
INTERNALS = sorted((ROOT / "docs/internals").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CITED = re.compile(r"\bdocs/[a-z0-9/._-]+?\.md(?:#[a-z0-9_-]+)?")
FILE = re.compile(r"`((?:[a-z0-9_]+/)+[a-z0-9_@.-]*|[a-z_]+\.py)(?: \([^)]*\))?`")
BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of its headings, as GitHub makes them, and those that it sets itself."""
    text = page.read_text()
    headings = re.findall(r"^#+ +(.+?) *#*$", BLOCK.sub("", text), re.MULTILINE)
    plain = [re.sub(r"\]\([^)]*\)|[`*\[]", "", one).lower() for one in headings]
    slugs = {re.sub(r"[^\w -]", "", one).replace(" ", "-") for one in plain}
    return frozenset(slugs | set(re.findall(r'<a (?:id|name)="([^"]+)"', text)))


def leads_nowhere(target: Path, anchor: str) -> str | None:
    if not target.exists():
        return f"{target} does not exist"
    if anchor and target.suffix == ".md" and anchor not in anchors(target):
        return f"{target} has no heading #{anchor}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = [one for one in LINK.findall(BLOCK.sub("", page.read_text())) if "://" not in one]
    parts = [one.partition("#") for one in links]
    wrong = [
        why
        for file, _, anchor in parts
        if (why := leads_nowhere((page.parent / file).resolve() if file else page, anchor))
    ]

    assert wrong == []


def texts_of_the_code() -> Iterator[tuple[str, str]]:
    for path in [*(ROOT / TOP).rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        if path != Path(__file__):
            yield name(path), path.read_text()


def test_every_page_and_heading_that_the_code_cites_exists() -> None:
    wrong = [
        f"{file}: {why}"
        for file, text in texts_of_the_code()
        for cited in CITED.findall(text)
        if (why := leads_nowhere(ROOT / cited.partition("#")[0], cited.partition("#")[2]))
    ]

    assert wrong == []


def test_the_code_cites_no_document_that_is_not_in_the_repository() -> None:
    outside = re.compile(r"\b(?:DESIGN|PLATFORM|INTERFACES|HANDOFF|HOUSE|VOICE|STYLE)\.md\b")

    assert [file for file, text in texts_of_the_code() if outside.search(text)] == []


@pytest.mark.parametrize("page", INTERNALS, ids=name)
def test_every_file_that_a_page_of_the_internals_names_exists(page: Path) -> None:
    """Paths are below the project or below wssupervisor/; a module alone is one of runtime/."""
    below = (ROOT, ROOT / TOP, ROOT / TOP / "runtime")
    found = FILE.findall(BLOCK.sub("", page.read_text()))

    assert found != [] or page.name == "glossary.md"
    assert [one for one in found if not any((place / one).exists() for place in below)] == []


def test_the_architecture_names_every_wing() -> None:
    page = (ROOT / "docs/internals/architecture.md").read_text()
    house = House.read()
    wings = [
        room
        for room in house.rooms.arrows
        if room in house.packages
        and not any(house.room(one).startswith(f"{room}.") for one in house.paths)
    ]

    assert [
        one
        for one in wings
        if f"| `{one.removeprefix(f'{TOP}.').replace('.', '/')}/` |" not in page
    ] == []


WALKS = set((ROOT / "tests/property").glob("*.py"))
WALKS_OF_THE_HANDOFF = {one for one in WALKS if "handoff" in one.name}


def checks_of_the_walks(files: set[Path]) -> Iterator[str]:
    """Invariants, and what is checked of single steps."""
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                decorators = {ast.unparse(one) for one in node.decorator_list}
                if "invariant()" in decorators or node.name.startswith("check_"):
                    yield node.name


def test_the_essay_of_the_core_names_every_check_of_the_random_walks() -> None:
    essay = ast.get_docstring(ast.parse((ROOT / TOP / "fleet/core.py").read_text())) or ""
    checks = list(checks_of_the_walks(WALKS - WALKS_OF_THE_HANDOFF))

    assert len(checks) > 20
    assert [one for one in checks if one not in essay] == []


def test_the_handoff_names_every_check_of_its_random_walks() -> None:
    text = (ROOT / TOP / "worker/handoff/__init__.py").read_text()
    named = re.findall(r"`(check_\w+)`", text)

    assert set(named) == set(checks_of_the_walks(WALKS_OF_THE_HANDOFF))


def test_every_name_in_the_essay_of_the_core_exists() -> None:
    essay = ast.get_docstring(ast.parse((ROOT / TOP / "fleet/core.py").read_text())) or ""
    named = re.findall(r"`([a-z_]+)\.([a-z_]+)`", essay)
    fields = {one.name for one in dataclasses.fields(State)}

    assert len(named) > 10
    for module, found in named:
        inside = importlib.import_module(f"{TOP}.fleet.{module}")
        assert hasattr(inside, found) or (module == "state" and found in fields), found
    code = "\n".join(path.read_text() for path in (ROOT / TOP / "fleet").glob("*.py"))
    alone = set(re.findall(r"`([A-Za-z_]+)`", essay))
    assert [one for one in alone if not re.search(rf"\b{one}\b", code.replace(essay, ""))] == []


def test_an_anchor_is_made_as_github_makes_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# `SYN_RECV` has no slot\n\n```\n# no heading\n```\n\n## [a](b), c: d\n")

    assert anchors(page) == {"syn_recv-has-no-slot", "a-c-d"}
