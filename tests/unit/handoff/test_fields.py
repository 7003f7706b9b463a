"""Each bound of a foreign value: the last value that is allowed, and the first that is not."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from wssupervisor.worker.handoff.fields import SHOWN_CHARS, Fields, Malformed, shown

Reader = Callable[[Fields], Any]


def fields(value: Any) -> Fields:
    return Fields({"key": value}, "here")


def encoded(count: int) -> str:
    return base64.b64encode(bytes(count)).decode()


READERS: dict[str, tuple[Reader, list[Any], list[Any]]] = {
    "integer": (
        lambda it: it.integer("key", 1, 3),
        [1, 3],
        [0, 4, 1.0, True, "1", None, [1]],
    ),
    "flag": (lambda it: it.flag("key"), [True, False], [0, 1, None, "true"]),
    "seconds": (
        lambda it: it.seconds("key", 10.0),
        [0, 10, 0.5, 10.0],
        [-0.1, 10.1, True, "1", None, float("nan"), float("inf")],
    ),
    "text": (lambda it: it.text("key", 3), ["", "abc"], ["abcd", 7, None, ["a"]]),
    "text or none": (lambda it: it.text_or_none("key", 3), [None, "abc"], ["abcd", 7]),
    "texts": (
        lambda it: it.texts("key", 2, 3),
        [[], ["a", "abc"]],
        [["a", "b", "c"], ["a", "abcd"], ["a", 7], [7, "a"], "ab", None, {"a": "b"}],
    ),
    "pairs": (
        lambda it: it.pairs("key", 2, 3),
        [[], [["a", "abc"], ["", ""]]],
        [
            [["a", "b"]] * 3,
            [["a", "b"], ["a", "abcd"]],
            [["a", "b"], ["a"]],
            [["a"], ["a", "b"]],
            [["a", 7]],
            ["ab"],
            {"ab": "cd"},
            None,
        ],
    ),
    "binary": (
        lambda it: it.binary("key", 3),
        ["", encoded(3)],
        [encoded(4), "AAAA ", "A*AAA", "ä", 7, None],
    ),
    "objects": (lambda it: it.objects("key", 1), [[], [{}]], [[{}, {}], [7], {}, None]),
    "inside": (lambda it: it.inside("key"), [{}], [[], None, "a"]),
    "mapping": (lambda it: it.mapping("key"), [{}, {"a": 1}], [[], None, "a"]),
}


@pytest.mark.parametrize("name", READERS)
def test_what_is_allowed_is_taken(name: str) -> None:
    read, allowed, _ = READERS[name]
    for value in allowed:
        read(fields(value))


@pytest.mark.parametrize("name", READERS)
def test_what_is_not_allowed_is_refused_with_where_it_is(name: str) -> None:
    read, _, refused = READERS[name]
    for value in refused:
        with pytest.raises(Malformed, match=r"^here: key(\[\d\])?: (key: )?found ") as raised:
            read(fields(value))

        assert ", expected " in str(raised.value)


def test_a_missing_value_is_refused() -> None:
    for name, (read, _, _) in READERS.items():
        if name == "text or none":
            assert read(Fields({}, "here")) is None
        else:
            with pytest.raises(Malformed, match=r"^here: key: found "):
                read(Fields({}, "here"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        ("\x1b[2J", r"'\x1b[2J'"),
        (None, "null"),
        (True, "true"),
        (2**128 - 1, str(2**128 - 1)),
        (2**128, "a number of more than 128 bits"),
        ([1, 2], "a list of 2"),
        ({}, "an object of 0"),
        ("x" * (SHOWN_CHARS - 2), f"'{'x' * (SHOWN_CHARS - 2)}'"),
        ("x" * (SHOWN_CHARS - 1), f"'{'x' * (SHOWN_CHARS - 1)}..."),
        ("x" * 10**6, f"'{'x' * (SHOWN_CHARS - 1)}..."),
    ],
)
def test_a_value_is_shown_as_short_printable_text(value: Any, expected: str) -> None:
    assert shown(value) == expected
