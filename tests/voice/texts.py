"""Every text of the project: files as they are, and of Python files strings and comments."""

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.voice.words import DOCUMENTS, IN_DOCUMENTS, RULES

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent

PLACES = (
    "README.md",
    "CHANGELOG.md",
    "docs",
    "examples",
    "packaging",
    "units",
    "wssupervisor",
    "tests",
    "dev",
    ".ci/run",
    "pyproject.toml",
)
NAME = re.compile(r"[a-z_]+")
NOT_TEXT = {".svg", ".pyc", ".json", ".lock", ".png"}
LEFT_OUT = {
    "docs/internals/style.md": "names the words, to say what is written instead",
    "packaging/debian/copyright": "the text of the licence",
    "tests/unit/test_voice.py": "has the words as examples",
    "tests/voice": "lists the words",
}


@dataclass(frozen=True)
class Text:
    """One piece of text: a file, a string, or the comments of adjacent lines."""

    line: int
    words: str


@dataclass(frozen=True)
class Finding:
    file: str
    """Path below the project."""
    line: int
    found: str
    instead: str
    around: str
    """The text around it, on one line."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: '{self.found}' ({self.instead}): … {self.around} …"


@dataclass(frozen=True)
class Allowed:
    """A phrase that is right in one file; `phrase` contains the word."""

    file: str
    phrase: str
    reason: str


@cache
def allowed() -> tuple[Allowed, ...]:
    entries = tomllib.loads((HERE / "allowed.toml").read_text()).get("allowed", [])
    return tuple(Allowed(**entry) for entry in entries)


def files() -> Iterator[Path]:
    for place in PLACES:
        path = ROOT / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = file.relative_to(ROOT).as_posix()
            left_out = any(name == out or name.startswith(f"{out}/") for out in LEFT_OUT)
            if file.is_file() and file.suffix not in NOT_TEXT and not left_out:
                yield file


def texts(path: Path, source: str) -> Iterator[Text]:
    if path.suffix == ".py":
        yield from strings(source)
        yield from comments(source)
    else:
        yield Text(1, source)


def strings(source: str) -> Iterator[Text]:
    """Literals and docstrings. `{}` is what an f-string fills in; a single word is a name."""
    nodes = tuple(ast.walk(ast.parse(source)))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        match node:
            case ast.JoinedStr(values=values, lineno=line):
                words = (
                    str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values
                )
                yield Text(line, "".join(words))
            case ast.Constant(value=str(words), lineno=line) if id(node) not in parts:
                if not NAME.fullmatch(words):
                    yield Text(line, words)


def comments(source: str) -> Iterator[Text]:
    if "#" not in source:
        return
    begun = last = 0
    words: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if words and token.start[0] > last + 1:
                yield Text(begun, "\n".join(words))
                words = []
            begun = begun if words else token.start[0]
            last = token.start[0]
            words.append(token.string)
    if words:
        yield Text(begun, "\n".join(words))


def findings_in(file: str, text: Text) -> Iterator[Finding]:
    more = IN_DOCUMENTS if Path(file).suffix in DOCUMENTS else ()
    for rule in (*RULES, *more):
        for match in rule.pattern.finditer(text.words):
            before = text.words[max(match.start() - 60, 0) : match.start()]
            after = text.words[match.end() : match.end() + 60]
            yield Finding(
                file,
                text.line + text.words.count("\n", 0, match.start()),
                one_line(match[0]),
                rule.instead,
                one_line(before + match[0] + after),
            )


def one_line(words: str) -> str:
    return re.sub(r"\s+(?:[#*>]+\s+)?", " ", words).strip()


@cache
def findings_of(path: Path) -> tuple[Finding, ...]:
    """What is found in one file, allowed phrases included, each once, by line."""
    file = path.relative_to(ROOT).as_posix()
    try:
        source = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ()
    found = {
        (finding.line, finding.found): finding
        for text in texts(path, source)
        for finding in findings_in(file, text)
    }
    return tuple(found[key] for key in sorted(found))


def permits(entry: Allowed, finding: Finding) -> bool:
    return (
        entry.file == finding.file
        and finding.found in entry.phrase
        and entry.phrase in finding.around
    )


@cache
def findings() -> tuple[Finding, ...]:
    """Everything that is found in the project and not allowed."""
    return tuple(
        finding
        for path in files()
        for finding in findings_of(path)
        if not any(permits(entry, finding) for entry in allowed())
    )
