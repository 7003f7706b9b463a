"""docs/topics/what-happens-when.md: log lines that it quotes are lines that the program writes."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/topics/what-happens-when.md"
COMMANDS = ("wssctl ", "systemctl ", "kill ", "bash ", "rm ")
"""With what a quotation begins that an operator types."""


def quoted() -> list[str]:
    """Of the tables: what is between backquotes and has several words, as log lines have."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    found = re.findall(r"`([^`]+)`", "\n".join(rows))
    words = [one for one in found if re.fullmatch(r"[a-z]+(?:[ :;,]+[a-z]+)+", one)]
    return sorted({one for one in words if not one.startswith(COMMANDS)})


@cache
def written() -> str:
    """Every text in the package; a kind of event is logged with spaces for its dashes."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "wssupervisor").rglob("*.py")]
    texts = [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join([*texts, *(text.replace("-", " ") for text in texts)])


@pytest.mark.parametrize("line", quoted())
def test_a_quoted_line_is_one_that_is_written(line: str) -> None:
    assert line in written()


def test_there_are_quotations() -> None:
    assert len(quoted()) > 15
