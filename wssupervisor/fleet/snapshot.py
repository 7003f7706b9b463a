"""The fleet's state as versioned JSON-able data, and back: `load(dump(fleet))` equals the fleet.

The shape comes from the annotations of the dataclasses, so a new field cannot be forgotten. A
member of a union of classes has the name of its class as its tag.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypedDict, Union, get_args, get_origin, get_type_hints

from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.model import WorkerId
from wssupervisor.fleet.state import State

VERSION = 1
SHOWN_CHARS = 200
TAG = "type"
"""The key of a union member's class; no field has that name."""


class SnapshotInvalid(ValueError):
    """The data is not a snapshot, or has an unknown version."""


class FleetDump(TypedDict):
    """A dumped fleet. `state` has the shape of State, in plain dicts and lists."""

    version: int
    state: Any


def dump(fleet: Fleet) -> FleetDump:
    """Return plain dicts, lists, strings, numbers and None; infinity as the string "inf"."""
    return {"version": VERSION, "state": plain(fleet.state)}


def load(data: Mapping[str, object]) -> Fleet:
    """Return the fleet that was dumped. Raises SnapshotInvalid."""
    if data.get("version") != VERSION:
        found = data.get("version")
        raise SnapshotInvalid(f"found snapshot version {found!r}, expected {VERSION}")
    fleet = Fleet(())
    try:
        fleet.state = typed(State, data["state"])
    except (LookupError, ArithmeticError, TypeError, ValueError, AttributeError) as error:
        raise SnapshotInvalid(f"snapshot cannot be read: {repr(error)[:SHOWN_CHARS]}") from error
    return fleet


def plain(value: Any, *, tagged: bool = False) -> Any:
    """Convert dataclasses, enums and worker ids to JSON types. `tagged`: members of a union."""
    match value:
        case Enum():
            return value.value
        case WorkerId():
            return str(value)
        case float() if math.isinf(value):
            return "inf"
        case Mapping():
            return {str(plain(key)): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, tagged=tagged) for item in value]
        case _ if is_dataclass(value):
            kind: type = type(value)
            found = {name: plain(getattr(value, name), tagged=tag) for name, tag in _shape(kind)}
            return {TAG: kind.__name__, **found} if tagged else found
        case _:
            return value


@cache
def _hints(kind: type) -> Mapping[str, object]:
    return get_type_hints(kind)


@cache
def _shape(kind: type) -> tuple[tuple[str, bool], ...]:
    """Return the name of each field, and whether the field holds members of a union."""
    hints = _hints(kind)
    return tuple((one.name, _has_union(hints[one.name])) for one in fields(kind))


def _has_union(hint: Any) -> bool:
    return len(_members(hint)) > 1 or any(_has_union(one) for one in get_args(hint))


def _members(hint: Any) -> list[Any]:
    """Return the members of a union, without None; [] for a type that is not a union."""
    if get_origin(hint) not in (Union, UnionType):
        return []
    return [one for one in get_args(hint) if one is not NoneType]


def typed(kind: Any, data: Any) -> Any:
    """Convert plain data to this type. Raises KeyError, TypeError, ValueError."""
    if kind is Any:
        return data
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if data is None and NoneType in arguments:
            return None
        members = _members(kind)
        if len(members) == 1:
            return typed(members[0], data)
        return typed({one.__name__: one for one in members}[data[TAG]], data)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(typed(arguments[0], item) for item in data)
        return tuple(typed(one, item) for one, item in zip(arguments, data, strict=True))
    if origin is list:
        return [typed(arguments[0], item) for item in data]
    if origin in (dict, Mapping):
        key, value = arguments
        return {typed(key, name): typed(value, item) for name, item in data.items()}
    if kind is WorkerId:
        return WorkerId(*(int(part) for part in data.split(".")))
    if isinstance(kind, type) and is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{one.name: typed(hints[one.name], data[one.name]) for one in fields(kind)})
    return kind(data)
