"""Rules 1 to 3 of docs/internals/style.md, over every text of the project."""

import pytest

from tests.voice.texts import (
    Allowed,
    Text,
    allowed,
    comments,
    files,
    findings,
    findings_in,
    findings_of,
    permits,
    strings,
)


def found(words: str) -> list[str]:
    return [finding.found for finding in findings_in("file", Text(1, words))]


def test_no_text_has_a_word_that_is_replaced() -> None:
    """`./dev voice PATH` lists them. A phrase that is right goes into tests/voice/allowed.toml."""
    assert [str(finding) for finding in findings()] == []


def test_every_allowed_phrase_is_there_and_has_its_reason() -> None:
    for entry in allowed():
        [path] = [path for path in files() if path.as_posix().endswith(f"/{entry.file}")]
        assert any(permits(entry, finding) for finding in findings_of(path)), entry.phrase
        assert len(entry.reason.split()) >= 3


def test_a_phrase_is_allowed_in_its_file_alone() -> None:
    entry = Allowed("docs/get-started.md", "as told by systemd", "a quotation of its manual")
    [here] = findings_in("docs/get-started.md", Text(1, "as told by systemd"))
    [there] = findings_in("README.md", Text(1, "as told by systemd"))

    assert permits(entry, here)
    assert not permits(entry, there)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("so that nobody waits", ["nobody"]),
        ("what somebody's client sees", ["somebody's"]),
        ("for whoever asks", ["whoever"]),
        ("Who asks is known.", ["Who"]),
        ("known. Who drains may end.", ["Who"]),
        ("and who comes late", ["and who"]),
        ("asks those who are there", ["those who"]),
        ("it is told to end", ["told"]),
        ("which shall end", ["shall"]),
        ("begins anew", ["anew"]),
        ("waits so long", ["so long"]),
        ("the last so many lines", ["so many"]),
        ("eight at the most", ["at the most"]),
        ("not any more.", ["any more"]),
        ("not any more than before", ["any more"]),
        ("a dear look", ["dear"]),
        ("the rest drains on", ["drains on"]),
        ("and goes on serving", ["goes on"]),
        ("a worker serves on, as before", ["serves on"]),
        ("he sends his handshake", ["he", "his"]),
    ],
)
def test_a_replaced_word_is_found(words: str, expected: list[str]) -> None:
    assert found(words) == expected


@pytest.mark.parametrize(
    "words",
    [
        "Who may read this?",
        "the operator who deployed it",
        "clients whose worker ended",
        "no worker has any more connections",
        "it serves on port 8000, and runs on Debian",
        "so many clients that the queue is full",
        "a so-long list",
        "drain_on, `told` and the drain on the screen",
    ],
)
def test_plain_english_is_left_alone(words: str) -> None:
    assert found(words) == []


def test_documents_do_not_let_programs_say_or_want() -> None:
    assert [one.found for one in findings_in("page.md", Text(1, "It says no."))] == ["says"]
    assert found("It says no.") == []


def test_a_phrase_is_found_across_the_end_of_a_line() -> None:
    [finding] = findings_in("file", Text(3, "# the rest drains\n# on, as before"))

    assert (finding.line, finding.found) == (3, "drains on")


def test_of_python_files_strings_docstrings_and_comments_are_read_and_no_names() -> None:
    source = '"""Doc."""\ntold = f"a {told} b" "c"  # first\n# second\n\n# third\n'

    assert list(strings(source)) == [Text(1, "Doc."), Text(2, "a {} bc")]
    assert list(comments(source)) == [Text(2, "# first\n# second"), Text(5, "# third")]
