"""The pages of docs/reference list the keys and types of control/documents.py."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin, is_typeddict

import pytest

from tests.harness.reference import KINDS, Key, keys
from wssupervisor.control import documents
from wssupervisor.control.fitting import keys_of, of_union

PAGES: list[tuple[str, str, type]] = [
    ("status.md", "", documents.Status),
    ("why.md", "", documents.Why),
    ("events.md", "A reload in the history", documents.PastReload),
]
NAMES = {kinds[-1]: name for name, kinds in KINDS.items()} | {int: "integer"}


def described(kind: Any, place: str = "") -> Iterator[Key]:
    """The keys of a type and of those inside it, as a page lists them."""
    for name, hint in keys_of(kind).items():
        kinds = of_union(hint)
        yield Key(place, name, tuple(map(named, kinds)), name not in kind.__required_keys__)
        where = f"{place}.{name}".removeprefix(".")
        for one in kinds:
            if is_typeddict(one):
                yield from described(one, where)
            elif get_origin(one) is list and is_typeddict(get_args(one)[0]):
                yield from described(get_args(one)[0], f"{where}[]")


def named(kind: Any) -> str:
    return "object" if is_typeddict(kind) else NAMES[get_origin(kind) or kind]


@pytest.mark.parametrize(("page", "within", "kind"), PAGES)
def test_a_page_has_the_keys_of_its_type(page: str, within: str, kind: type) -> None:
    assert set(keys(page, within=within)) == set(described(kind))
