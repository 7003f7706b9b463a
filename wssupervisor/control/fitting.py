"""Whether a decoded JSON value is what a type of documents.py describes: checked once, at the edge.

Keys that the type does not have are ignored, so that a newer peer can send more.
"""

import math
import types
from collections.abc import Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    NotRequired,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from wssupervisor.bounded import bounded

T = TypeVar("T")

FOUND_CHARS = 60
WORDS: Mapping[Any, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a whole number",
    list: "a list",
    object: "any value",
    str: "a text",
    type(None): "null",
}


class Misfit(ValueError):
    """A value of another type; its text names the key, what was found and what is allowed."""


def fit(kind: type[T], value: object) -> T:
    """Return the value unchanged, typed as the TypedDict `kind`. Raises Misfit."""
    _check(kind, value, "")
    return cast(T, value)


def _check(kind: Any, value: object, where: str, words: str | None = None) -> None:
    origin = get_origin(kind)
    if is_typeddict(kind):
        _check_object(kind, value, where)
    elif origin is Annotated:
        _check(get_args(kind)[0], value, where, str(kind.__metadata__[0]))
    elif len(kinds := of_union(kind)) > 1:
        _check_union(kinds, value, where)
    elif origin is list:
        if not isinstance(value, list):
            raise _misfit(where, value, WORDS[list])
        (inner,) = get_args(kind)
        for at, one in enumerate(value):
            _check(inner, one, f"{where}[{at}]")
    elif origin is dict:
        if not isinstance(value, dict):
            raise _misfit(where, value, WORDS[dict])
        inner = get_args(kind)[1]
        for name, one in value.items():
            _check(inner, one, f"{where}.{name}")
    elif not _is(kind, value):
        raise _misfit(where, value, words or WORDS[kind])


def _check_object(kind: Any, value: object, where: str) -> None:
    if not isinstance(value, dict):
        raise _misfit(where, value, WORDS[dict])
    for name, inner in keys_of(kind).items():
        place = f"{where}.{name}" if where else name
        if name in value:
            _check(inner, value[name], place)
        elif name in kind.__required_keys__:
            raise Misfit(f"{place} is missing, expected {_words(inner)}")


def _check_union(kinds: tuple[Any, ...], value: object, where: str) -> None:
    """Check a union: of None and one other type, or of several plain types. Raises Misfit."""
    if value is None and type(None) in kinds:
        return
    others = [one for one in kinds if one is not type(None)]
    if len(others) == 1:
        _check(others[0], value, where)
    elif not any(_is(one, value) for one in others):
        raise _misfit(where, value, " or ".join(map(_words, others)))


def _is(kind: Any, value: object) -> bool:
    if kind is object:
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, kind)


@cache
def keys_of(kind: Any) -> Mapping[str, Any]:
    """Name and type of each key of a TypedDict."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        name: get_args(hint)[0] if get_origin(hint) is NotRequired else hint
        for name, hint in hints.items()
    }


def of_union(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union; for another type, only itself."""
    return get_args(kind) if get_origin(kind) in {Union, types.UnionType} else (kind,)


def _words(kind: Any) -> str:
    """Describe the allowed values, for the text of a Misfit."""
    origin = get_origin(kind)
    if origin is Annotated:
        return str(kind.__metadata__[0])
    if len(kinds := of_union(kind)) > 1:
        return " or ".join(map(_words, kinds))
    return WORDS[dict] if is_typeddict(kind) else WORDS[origin or kind]


def _misfit(where: str, value: object, allowed: str) -> Misfit:
    found = (
        bounded(repr(value), FOUND_CHARS)
        if not isinstance(value, (dict, list))
        else (WORDS[type(value)])
    )
    return Misfit(f"{f'{where}: ' if where else ''}found {found}, expected {allowed}")
