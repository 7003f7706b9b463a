"""A recovery is tried again, but one that fails in the same way each time is not tried for ever."""

from pathlib import Path

import pytest

from wssupervisor.runtime.handover.attempts import (
    BEGAN,
    SAME_MAX,
    UNFINISHED,
    UNFINISHED_MAX,
    Attempts,
    described,
    hopeless,
)

ONE, OTHER = "KeyError in recovery.py:1", "OSError in recovery.py:2"


@pytest.mark.parametrize(
    ("ends", "is_hopeless"),
    [
        ([], False),
        ([ONE] * (SAME_MAX - 1), False),
        ([ONE] * SAME_MAX, True),
        ([OTHER, *[ONE] * SAME_MAX], True),
        ([ONE, OTHER, ONE, OTHER, ONE], False),
        ([ONE, ONE, BEGAN, ONE, ONE], False),
        ([UNFINISHED] * (UNFINISHED_MAX - 1), False),
        ([UNFINISHED] * UNFINISHED_MAX, True),
        ([BEGAN] * 9, False),
    ],
)
def test_what_is_hopeless(ends: list[str], is_hopeless: bool) -> None:
    assert (hopeless(ends) is not None) == is_hopeless


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tries"


def test_each_start_counts_and_a_success_begins_anew(path: Path) -> None:
    for _ in range(UNFINISHED_MAX):
        assert Attempts(str(path)).begin() is None
    assert Attempts(str(path)).begin() == f"{UNFINISHED_MAX} times in a row: {UNFINISHED}"
    assert not path.exists()
    own = Attempts(str(path))
    assert own.begin() is None
    own.began()
    own.over()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "[" * 100_000, "7", "{}", "[null, 7]", "\0", "x" * 99_999])
def test_whatever_its_file_says_a_recovery_is_tried(path: Path, text: str) -> None:
    path.write_text(text)

    assert Attempts(str(path)).begin() is None


def test_the_same_failure_is_known_again_by_its_place_not_by_its_text() -> None:
    def raised(text: str) -> Exception:
        with pytest.raises(KeyError) as found:
            dict[str, str]().pop(text)
        return found.value

    def in_a_group(text: str) -> Exception:
        return ExceptionGroup("of a task group", [raised(text)])

    assert described(raised("pid 7")) == described(in_a_group("pid 8"))
