"""Environment files mean what they mean to systemd; a mistake names its line."""

import pytest

from wssupervisor.runtime.releases.environment_file import parse_environment


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("A=1", {"A": "1"}),
        ("A=1\nA=2\n", {"A": "2"}),
        ("A=\nB=\n", {"A": "", "B": ""}),
        ("  A = 1 2  \n", {"A": "1 2"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("# A=1\n; A=2\n\n  # A=3\nB=1", {"B": "1"}),
        ("# a comment ends with its line \\\nA=1", {"A": "1"}),
        ("A=1 # no comment", {"A": "1 # no comment"}),
        ("A=b=c", {"A": "b=c"}),
        ("A='one two'", {"A": "one two"}),
        ("A='\\n $B \"'", {"A": '\\n $B "'}),
        ('A="one \\"two\\" \\\\ \\$x \\n"', {"A": 'one "two" \\ $x \\n'}),
        ('A="one\ntwo"\nB=1', {"A": "one\ntwo", "B": "1"}),
        ("A='one\ntwo'\nB=1", {"A": "one\ntwo", "B": "1"}),
        ("A=one \\\n  two\nB=1", {"A": "one   two", "B": "1"}),
        ('A="one\\\ntwo"', {"A": "onetwo"}),
        ("A=one\\ two\\\\", {"A": "one two\\"}),
        ("A=one\\  \n", {"A": "one "}),
        ("A=end\\", {"A": "end"}),
        ("A='one' \"two\" three 'four'", {"A": "onetwothree 'four'"}),
        ('A=it"s', {"A": 'it"s'}),
        ("A=\u2028x\x0by\x85", {"A": "\u2028x\x0by\x85"}),
    ],
)
def test_a_file_is_read_as_systemd_reads_it(text: str, found: dict[str, str]) -> None:
    assert parse_environment(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\nnonsense\n", "line 2: expected NAME=value"),
        ("A=1\n\nexport B=2", "line 3: expected NAME=value"),
        ("1A=1", "line 1: expected NAME=value"),
        ("=1", "line 1: expected NAME=value"),
        ("A='1\n2'\nB", "line 3: expected NAME=value"),
        ("A=1\nB='2\nC=3\n", "line 2: the quote is never closed"),
        ('A="1\\"', "line 1: the quote is never closed"),
        ("A=1\nB=\0", "line 2: a NUL character"),
    ],
)
def test_a_mistake_names_its_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        parse_environment(text)


def test_a_megabyte_of_blanks_takes_no_time() -> None:
    text = "A=x" + " " * 1_000_000 + "y\nB=" + "\\ " * 500_000

    assert len(parse_environment(text)["A"]) == 1_000_002
