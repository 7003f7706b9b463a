"""A JSON value has its type, or the error names the key, what was found and what is allowed."""

from typing import Annotated, Any, NotRequired, TypedDict

import pytest

from wssupervisor.control.fitting import Misfit, fit


class Inner(TypedDict):
    name: str


class Outer(TypedDict):
    number: int
    span: float | None
    sure: bool
    inner: Inner | None
    each: list[Inner]
    slots: dict[str, int]
    either: NotRequired[int | bool | None]
    id: NotRequired[Annotated[str, 'an id, such as "r3"']]


RIGHT: dict[str, Any] = {
    "number": 1, "span": 2, "sure": True, "inner": {"name": "a"}, "each": [{"name": "b"}],
    "slots": {"ws": 3},
}  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [{}, {"span": None, "inner": None}, {"either": True}, {"either": None}, {"unknown": [[]]}],
)
def test_a_value_of_the_type_is_returned_as_it_is(more: dict[str, Any]) -> None:
    value = RIGHT | more

    assert fit(Outer, value) is value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"number": True}, "number: found True, expected a whole number"),
        ({"number": 1.5}, "number: found 1.5, expected a whole number"),
        ({"span": "1"}, "span: found '1', expected a number"),
        ({"span": float("nan")}, "span: found nan, expected a number"),
        ({"sure": 1}, "sure: found 1, expected true or false"),
        ({"inner": []}, "inner: found a list, expected an object"),
        ({"inner": {}}, "inner.name is missing, expected a text"),
        ({"each": {}}, "each: found an object, expected a list"),
        ({"each": [{"name": "b"}, 7]}, "each[1]: found 7, expected an object"),
        ({"slots": {"ws": None}}, "slots.ws: found None, expected a whole number"),
        ({"either": "x"}, "either: found 'x', expected a whole number or true or false"),
        ({"id": 3}, 'id: found 3, expected an id, such as "r3"'),
    ],
)
def test_a_value_of_another_type_is_refused_and_named(
    change: dict[str, Any], expected: str
) -> None:
    with pytest.raises(Misfit) as refused:
        fit(Outer, RIGHT | change)

    assert str(refused.value) == expected


@pytest.mark.parametrize("value", [None, 5, "x", [1]])
def test_what_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(Misfit, match="expected an object"):
        fit(Outer, value)
