"""docs/reference/worker-channel.md: its messages are those that both ends encode and decode."""

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from wssupervisor.worker.protocol import (
    MESSAGE_BYTES,
    Capability,
    FromSupervisor,
    FromWorker,
    encode,
    from_supervisor,
    from_worker,
)

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/worker-channel.md").read_text()
SAMPLES: dict[Any, Any] = {int: 1000, float: 1.0, str: "", bool: True, tuple[str, ...]: ()}
TYPES: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    tuple[str, ...]: "list of strings",
}
Fields = dict[str, tuple[str, bool]]
"""Name of a field -> its type, and whether it may be left out."""


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def shown(heading: str) -> dict[str, Fields]:
    """Type of message -> its fields, of the first table of a section."""
    found = {}
    for line in section(heading).partition("\n| capability")[0].splitlines():
        if row := re.match(r"^\| `(\w+)` \|(.*?)\| (.*) \|$", line):
            described = re.findall(r"`(\w+)`: (list of strings|\w+)([^`]*)", row[2])
            found[row[1]] = {name: (kind, "default" in rest) for name, kind, rest in described}
    return found


def real(kinds: Any) -> dict[str, Fields]:
    found = {}
    for kind in get_args(kinds):
        hints = get_type_hints(kind)
        message = kind(**{one.name: SAMPLES[hints[one.name]] for one in fields(kind)})
        found[json.loads(encode(message))["type"]] = {
            one.name: (TYPES[hints[one.name]], one.default is not MISSING) for one in fields(kind)
        }
    return found


@pytest.mark.parametrize(
    ("heading", "kinds"),
    [("From the worker", FromWorker), ("From the supervisor", FromSupervisor)],
)
def test_messages_have_the_fields_of_the_page(heading: str, kinds: Any) -> None:
    assert shown(heading) == real(kinds)


def test_capabilities_are_those_of_the_page() -> None:
    table = section("From the worker").partition("| capability")[2]

    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == {
        one.value for one in Capability
    }


def test_the_limit_of_a_message_is_that_of_the_page() -> None:
    assert f"at most {MESSAGE_BYTES} bytes" in PAGE


def test_the_example_is_understood_at_the_other_end() -> None:
    lines = section("An example").splitlines()
    messages = [line.encode() for line in lines if line.startswith("{")]

    assert len(messages) > 5
    for message in messages:
        types = shown("From the worker")
        read = from_worker if json.loads(message)["type"] in types else from_supervisor
        assert read(message) is not None
