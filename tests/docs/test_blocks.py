"""Every command in the README and the guides is run, and prints what they show."""

import dataclasses
from pathlib import Path

import pytest

from tests.docs.blocks import COMMANDS, DOCUMENTS, Step, blocks, differs, steps
from tests.docs.sandbox import Done, follow
from wssupervisor.config.schema import load_config

STARTS = "docs/get-started.md"
ELSEWHERE = {"systemd", "servers", "debian12"}
"""Blocks of tests/e2e/test_docs.py; what makes up the last is done by tests/debian12."""

NOT_RUN = {
    "./dev test": "this is one of its tests",
}
INSTEAD = {
    "git clone <this repository> wssupervisor && cd wssupervisor": (
        "mkdir wssupervisor && git -C $CHECKOUT ls-files --cached --others --exclude-standard |"
        " tar -C $CHECKOUT -c --ignore-failed-read -T - | tar -x -C wssupervisor &&"
        " cd wssupervisor && ln -s $CHECKOUT/.venv ."
    ),
    "./dev demo": ".venv/bin/python examples/demo.py",
}
"""What would be cloned is here, with what was changed and not committed, and all is installed."""

LANGUAGES = {
    "",
    "toml",
    "python",
    "javascript",
    "nginx",
    "haproxy",
    "yaml",
    "bash",
    "json",
    "dockerfile",
    *COMMANDS,
}


def here(document: str) -> list[Step]:
    found = [step for step in steps(document) if step.place not in ELSEWHERE]
    return [
        dataclasses.replace(step, command=INSTEAD.get(_bare(step.command), step.command))
        for step in found
        if _bare(step.command) not in NOT_RUN
    ]


def _bare(command: str) -> str:
    return command.partition("#")[0].strip()


def judge(done: Done) -> str | None:
    """What is wrong with it."""
    if done.status != expected_status(done.step):
        return f"{done.step}\nstatus {done.status}:\n{done.printed}"
    if done.step.expected is not None:
        missing = differs(done.step.expected, done.printed)
        if missing is not None:
            return f"{done.step}\nnot printed: {missing}\nbut:\n{done.printed}"
    return None


def expected_status(step: Step) -> int:
    """0, unless the document shows how it fails."""
    printed = step.expected or ()
    return 1 if any(line.startswith(("wssctl: ", "Job for ")) for line in printed) else 0


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "document",
    [
        pytest.param("README.md", marks=pytest.mark.slow("it runs the demo")),
        pytest.param(STARTS, marks=pytest.mark.slow("an estimate of a drain needs half a minute")),
        *(one for one in DOCUMENTS if one not in {"README.md", STARTS}),
    ],
)
def test_every_command_of_a_document_does_what_it_says(
    document: str, short_directory: Path
) -> None:
    todo = here(document)
    directory = short_directory / "scratch"
    directory.mkdir()
    found = follow(todo, directory, short_directory / "log")
    wrong = [complaint for done in found if (complaint := judge(done))]

    assert not wrong, "\n\n".join(wrong)
    assert len(found) == len(todo), f"ended at {todo[len(found)]}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_blocks_are_of_a_kind_that_is_known(document: str) -> None:
    strange = [
        f"{block.document}:{block.line}: {block.language} {block.place}"
        for block in blocks(document)
        if block.language not in LANGUAGES or block.place not in {"", *ELSEWHERE}
    ]

    assert strange == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_configurations_are_valid(document: str, tmp_path: Path) -> None:
    for block in blocks(document):
        if block.language == "toml":
            path = tmp_path / "shown.toml"
            path.write_text("\n".join(block.lines))

            assert load_config(str(path)).listeners, f"{document}:{block.line}"


def test_what_is_not_run_is_still_there() -> None:
    """Exceptions that no block needs are gone."""
    shown = {_bare(step.command) for document in DOCUMENTS for step in steps(document)}

    assert set(NOT_RUN) | set(INSTEAD) <= shown


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (("took 3.2 s",), "took 310 ms\n", True),
        (("a", "...", "c"), "a\nb\nb\nc\n", True),
        (("a", "c"), "a\nb\nc\n", False),
        (("a",), "a\nb\n", False),
        (("a", "..."), "a\nb\n", True),
        (("served",), "failed\n", False),
        (("pid ... serves",), "pid 17 of chat serves\n", True),
    ],
)
def test_what_counts_as_the_same_output(
    expected: tuple[str, ...], printed: str, same: bool
) -> None:
    assert (differs(expected, printed) is None) == same
