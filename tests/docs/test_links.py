"""Each link of a document leads somewhere, and each page can be reached from the README."""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START = "README.md"
CONTENTS = "docs/README.md"
PAGES = [
    START,
    *sorted(
        str(path.relative_to(ROOT))
        for place in ("docs", "examples")
        for path in (ROOT / place).rglob("*.md")
    ),
]
LINES = 200
"""At most in the README."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@cache
def text(page: str) -> str:
    """Without what is between fences."""
    return _FENCE.sub("", (ROOT / page).read_text())


@cache
def anchors(page: str) -> frozenset[str]:
    """Of its headings, as GitHub makes them."""
    return frozenset(
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text(page))
    )


@cache
def links(page: str) -> tuple[tuple[str, str], ...]:
    """Those within the project: the path from its root, and the anchor."""
    found = []
    for target in _LINK.findall(text(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        found.append((str(there.relative_to(ROOT)), anchor))
    return tuple(found)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_a_file_and_a_heading_that_exist(page: str) -> None:
    for path, anchor in links(page):
        assert (ROOT / path).exists(), path
        if anchor:
            assert anchor in anchors(path), f"{path}#{anchor}"


def test_every_page_for_users_is_in_the_table_of_contents() -> None:
    listed = {path for path, _ in links(CONTENTS)}
    pages = {page for page in PAGES if page.startswith("docs/") and "/internals/" not in page}

    assert pages - {CONTENTS} <= listed


def test_the_readme_leads_to_every_page_of_the_documentation() -> None:
    reached, left = {START}, [START]
    while left:
        for path, _ in links(left.pop()):
            if path in PAGES and path not in reached:
                reached.add(path)
                left.append(path)

    assert {page for page in PAGES if page.startswith("docs/")} <= reached


def test_the_readme_is_short() -> None:
    assert len((ROOT / START).read_text().splitlines()) < LINES
