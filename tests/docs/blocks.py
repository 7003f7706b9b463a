"""The fenced blocks of the documents, read as what a reader types.

sh          each line is a command
console     "$ " and "# " begin commands, the rest is what they print: numbers may differ, "..."
            stands for any lines
toml, ...   one that begins with a comment `# NAME` is a file of that name, made before what follows

A second word says where: `systemd` on a machine with the package, `servers` with servers and
proxies as well. `<!-- $ command -->` is run like a command, and not seen by readers: it brings
clients, mostly; with a word before the $ it is for there.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    *sorted(
        str(path.relative_to(ROOT))
        for path in (ROOT / "docs").rglob("*.md")
        if path.parent.name != "internals"
    ),
    "examples/README.md",
    "examples/servers/README.md",
]

_FENCE = re.compile(r"^(?:> ?)?```(\w*) ?(\w*)$")
_HIDDEN = re.compile(r"^<!-- (?:(\w+) )?\$ (.*) -->$")
_FILE = re.compile(r"^(?:#|//) (\S+\.(?:toml|py|js|conf|cfg|sh))\b.*$")
_MORE = re.compile(r"\\$|<<'(\w+)'")

COMMANDS = {"sh", "console"}


@dataclass(frozen=True, slots=True)
class Step:
    """One command, or a file to make; `expected` None: whatever it prints."""

    document: str
    line: int
    place: str
    command: str
    expected: tuple[str, ...] | None = None
    makes: str | None = None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.command}"


@dataclass(slots=True)
class Block:
    document: str
    line: int
    language: str
    place: str
    lines: list[str] = field(default_factory=list)


def blocks(document: str) -> Iterator[Block]:
    """Fenced ones, and hidden commands as blocks of their own."""
    inside: Block | None = None
    for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
        if inside is None and (hidden := _HIDDEN.match(line)):
            yield Block(document, number, "sh", hidden[1] or "", [hidden[2]])
        elif fence := _FENCE.match(line):
            if inside is None:
                inside = Block(document, number, fence[1], fence[2])
            else:
                yield inside
                inside = None
        elif inside is not None:
            inside.lines.append(line)
    assert inside is None, f"{document}: a block is not closed"


def steps(document: str) -> list[Step]:
    """All that is to be done, in order."""
    found: list[Step] = []
    for block in blocks(document):
        if block.language == "sh":
            found += _commands(block)
        elif block.language == "console":
            found += _session(block)
        elif block.lines and (name := _FILE.match(block.lines[0])):
            text = "\n".join(block.lines) + "\n"
            found.append(Step(document, block.line, block.place, text, makes=name[1]))
    return found


def _commands(block: Block) -> Iterator[Step]:
    lines = iter(enumerate(block.lines, block.line + 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        yield Step(block.document, number, block.place, _whole(line, lines))


def _whole(line: str, lines: Iterator[tuple[int, str]]) -> str:
    """A command with the lines that belong to it: after a backslash, or a here-document."""
    found = [line]
    while (more := _MORE.search(found[-1])) is not None:
        if more[1] is None:
            found.append(next(lines)[1])
            continue
        while found[-1] != more[1]:
            found.append(next(lines)[1])
        break
    return "\n".join(found)


def _session(block: Block) -> Iterator[Step]:
    lines = iter(enumerate(block.lines, block.line + 1))
    command, at, printed = "", 0, list[str]()
    for number, line in lines:
        if line[:2] in ("$ ", "# "):
            if command:
                yield Step(block.document, at, block.place, command, tuple(printed) or None)
            command, at, printed = _whole(line[2:], lines), number, []
        else:
            printed.append(line)
    if command:
        yield Step(block.document, at, block.place, command, tuple(printed) or None)


# -- what a command printed, and what the document says -------------------------------------------


def folded(line: str) -> str:
    """With all numbers alike, their units, and the white space between words."""
    line = re.sub(r"\d+(?:[.,:]\d+)*", "0", line)
    line = re.sub(r"\b0 ?(?:ms|s|min|h|d|B|kB|KiB|MB|MiB|GB)\b(?: 0 ?(?:ms|s|min)\b)*", "0", line)
    return " ".join(line.split())


def differs(expected: tuple[str, ...], printed: str) -> str | None:
    """The first line of the document that was not printed where it should be."""
    wanted = [folded(line) for line in expected if line.strip()]
    found = [folded(line) for line in printed.splitlines() if line.strip()]
    at, anywhere = 0, False
    for line in wanted:
        if line == "...":
            anywhere = True
            continue
        pattern = re.compile(re.escape(line).replace(re.escape("..."), ".*"))
        there = range(at, len(found)) if anywhere else range(at, min(at + 1, len(found)))
        match = next((one for one in there if pattern.fullmatch(found[one])), None)
        if match is None:
            return line
        at, anywhere = match + 1, False
    return None if anywhere or at == len(found) else f"(nothing more, but it printed) {found[at]}"
