"""What `./dev mutate` changes, and the list of changes that may survive."""

import pytest

from tests.mutate import explained
from tests.mutate.__main__ import modules, of_module
from tests.mutate.changes import changes

SOURCE = '''\
def late(one, other, now):
    """How late, in rounds of 3."""
    assert one < other
    if not one:
        return 0
    for each in (one, other):
        if each.late:
            continue
        yield each
    return round(min(one, other) + 2.5, 3) if one <= now and other is None else True
'''


def test_each_kind_of_condition_is_changed_and_nothing_else() -> None:
    found = [one.what for one in changes("late", SOURCE)]

    assert found == [
        "not -> ",
        "return 0 -> pass",
        "0 -> 1",
        "each.late -> not (each.late)",
        "continue -> pass",
        "yield each -> yield from ()",
        "min -> max",
        "2.5 -> 3.5",
        "<= -> <",
        "<= -> >",
        "and -> or",
        "is -> is not",
        "True -> False",
    ]


def test_a_change_is_made_in_its_place_alone() -> None:
    source = 'x = "é" if a < b else c < d  # <\n'
    first, *_, last = changes("x", source)

    assert first.apply(source) == 'x = "é" if a <= b else c < d  # <\n'
    assert last.apply(source) == 'x = "é" if a < b else c >= d  # <\n'
    assert (last.line, last.text) == (1, source.strip())


@pytest.mark.parametrize("module", modules())
def test_every_change_of_the_fleet_is_another_text(module: str) -> None:
    found = of_module(module)

    assert all(one.before != one.after for one in found)
    assert len({(one.start, one.end, one.after) for one in found}) == len(found)


def test_lines_below_a_change_keep_their_numbers() -> None:
    source = (
        "def f():\n    if g(\n        1,\n    ):\n        return h(\n            2\n        )\n"
    )
    source += "    return 3\n"
    found = changes("x", source)

    assert len(found) == 5
    assert {one.apply(source).count("\n") for one in found} == {source.count("\n")}


@pytest.mark.parametrize("entry", explained.read(), ids=lambda one: f"{one.module}: {one.line}")
def test_every_explained_change_is_one_that_can_be_made(entry: explained.Entry) -> None:
    assert any(entry.covers(change) for change in of_module(entry.module)), "remove or correct it"
    assert entry.reason
