"""How many lines of a kind are logged that other programs can cause at will."""

from wssupervisor.log_limit import LINES, SECONDS, LineLimit


def test_the_first_lines_of_a_kind_are_logged_and_the_others_counted() -> None:
    limit = LineLimit()
    admitted = [limit.admits("bad", 10.0) for _ in range(LINES + 300)]

    assert sum(admitted) == LINES
    assert limit.over(10.0 + SECONDS - 0.1) == []
    assert limit.over(10.0 + SECONDS) == [("bad", 300)]


def test_one_kind_takes_no_lines_from_another() -> None:
    limit = LineLimit()
    for _ in range(LINES + 1):
        limit.admits("bad", 10.0)

    assert limit.admits("other", 10.0)


def test_a_kind_is_forgotten_once_its_time_is_over() -> None:
    limit = LineLimit()
    for _ in range(LINES):
        limit.admits("bad", 10.0)

    assert limit.over(10.0 + SECONDS) == []
    assert limit.admits("bad", 10.0 + SECONDS)
    assert not limit.over(11.0 + SECONDS)
