"""The fleet's state as versioned JSON-able data, and back: `load(dump(fleet))` equals the fleet.

The shape comes from the annotations of the dataclasses, so a new field cannot be forgotten. A
member of a union of classes has the name of its class as its tag. The converters of each type are
made once, because the daemon saves its state at each step.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, TypedDict, Union, get_args, get_origin, get_type_hints

from wssupervisor.fleet.core import Fleet
from wssupervisor.fleet.model import WorkerId
from wssupervisor.fleet.state import State

VERSION = 1
SHOWN_CHARS = 200
TAG = "type"
"""The key of a union member's class; no field has that name."""

Convert = Callable[[Any], Any]


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


def plain(value: Any) -> Any:
    """Convert a dataclass to JSON types, of which fields of type Any or TypedDict already are."""
    kind: Any = type(value)
    return _writer(kind)(value)


def typed(kind: Any, data: Any) -> Any:
    """Convert plain data to this type. Raises KeyError, TypeError, ValueError."""
    return _reader(kind)(data)


def _same(value: Any) -> Any:
    return value


def _members(hint: Any) -> list[Any]:
    """Return the members of a union, without None; [] for a type that is not a union."""
    if get_origin(hint) not in (Union, UnionType):
        return []
    return [one for one in get_args(hint) if one is not NoneType]


def _field_hints(kind: Any) -> Mapping[str, object]:
    """Return the type of each field, in the order of the constructor's arguments."""
    hints = get_type_hints(kind)
    return {one.name: hints[one.name] for one in fields(kind)}


# -- to plain data --------------------------------------------------------------------------------


@cache
def _writer(kind: Any) -> Convert:
    """Return the function that makes plain data of a value of this type."""
    if members := _members(kind):
        return _optional(_union_writer(members))
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and arguments[-1] is not Ellipsis:
        writers = [_writer(one) for one in arguments]
        return lambda value: [write(item) for write, item in zip(writers, value, strict=True)]
    if origin in (tuple, list):
        write_item = _writer(arguments[0])
        return lambda value: [write_item(item) for item in value]
    if origin in (dict, Mapping):
        write_key, write_value = map(_writer, arguments)
        return lambda value: {
            str(write_key(name)): write_value(item) for name, item in value.items()
        }
    if kind is WorkerId:
        return str
    if kind is float:
        return _number
    if issubclass(kind, Enum):
        return attrgetter("value")
    return _fields_writer(kind) if is_dataclass(kind) else _same


def _optional(convert: Convert) -> Convert:
    if convert is _same:
        return _same
    return lambda value: None if value is None else convert(value)


def _union_writer(members: list[Any]) -> Convert:
    if len(members) == 1:
        return _writer(members[0])
    writers = {one: _writer(one) for one in members}
    return lambda value: {TAG: type(value).__name__, **writers[type(value)](value)}


def _fields_writer(kind: Any) -> Convert:
    writers = {name: _writer(hint) for name, hint in _field_hints(kind).items()}
    changing = [(name, write) for name, write in writers.items() if write is not _same]

    def write_fields(value: object) -> dict[str, object]:
        found = {name: getattr(value, name) for name in writers}
        for name, write in changing:
            found[name] = write(found[name])
        return found

    return write_fields


def _number(value: float) -> float | str:
    return "inf" if math.isinf(value) else value


# -- and back -------------------------------------------------------------------------------------


@cache
def _reader(kind: Any) -> Convert:
    """Return the function that makes a value of this type of plain data."""
    if kind is Any:
        return _same
    origin, arguments = get_origin(kind), get_args(kind)
    if members := _members(kind):
        read = _union_reader(members)
        return _optional(read) if NoneType in arguments else read
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin is list:
        read_item = _reader(arguments[0])
        return lambda data: [read_item(item) for item in data]
    if origin in (dict, Mapping):
        read_key, read_value = map(_reader, arguments)
        return lambda data: {read_key(name): read_value(item) for name, item in data.items()}
    if kind is WorkerId:
        return lambda data: WorkerId(*map(int, data.split(".")))
    return _fields_reader(kind) if is_dataclass(kind) else kind


def _union_reader(members: list[Any]) -> Convert:
    if len(members) == 1:
        return _reader(members[0])
    readers = {one.__name__: _reader(one) for one in members}
    return lambda data: readers[data[TAG]](data)


def _tuple_reader(arguments: tuple[Any, ...]) -> Convert:
    readers = [_reader(one) for one in arguments if one is not Ellipsis]
    if arguments[-1] is Ellipsis:
        return lambda data: tuple(map(readers[0], data))
    return lambda data: tuple(read(item) for read, item in zip(readers, data, strict=True))


def _fields_reader(kind: Any) -> Convert:
    readers = [(name, _reader(hint)) for name, hint in _field_hints(kind).items()]
    return lambda data: kind(*[read(data[name]) for name, read in readers])
