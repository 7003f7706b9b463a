"""No circle, no upward arrow; and the picture that says so is right about a small house."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.house.order import FLOOR_OF, ORDER
from tests.house.picture import TOP, Graph, House, upward
from wssupervisor.control import verbs

HOUSE = House.read()
FLOORS = {room if room == TOP else f"{TOP}.{room}": floor for room, floor in FLOOR_OF.items()}


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert HOUSE.modules.circles == []


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert HOUSE.rooms.circles == []


def test_the_module_of_each_verb_is_reached_from_its_program() -> None:
    assert HOUSE.verbs == set(verbs.VERBS)

    rows = verbs.VERBS.values()
    shown = {f"wssupervisor.commands.{row.name}" for row in rows if row.help}
    answered = {f"wssupervisor.runtime.api.{row.name}" for row in rows if row.right is not None}

    assert shown <= HOUSE.modules.reached("wssupervisor.commands.cli")
    assert answered <= HOUSE.modules.reached("wssupervisor.daemon")


def test_every_room_is_declared_once() -> None:
    """A room that is missing here goes into tests/house/order.py."""
    assert set(HOUSE.rooms.arrows) == set(FLOORS)
    assert len(FLOORS) == sum(len(row) for row in ORDER)


def test_every_room_imports_lower_rows_only() -> None:
    assert upward(HOUSE.rooms, FLOORS) == []


SMALL = {
    "wssupervisor/__init__.py": "",
    "wssupervisor/errors.py": "import sys",
    "wssupervisor/core/__init__.py": "",
    "wssupervisor/core/model.py": "from wssupervisor import errors",
    "wssupervisor/core/plan.py": "from wssupervisor.core.model import Model",
    "wssupervisor/run/__init__.py": "",
    "wssupervisor/run/loop.py": "import wssupervisor.run.disk.file\nimport wssupervisor.core.plan",
    "wssupervisor/run/disk/__init__.py": "",
    "wssupervisor/run/disk/file.py": "def late():\n    from wssupervisor.run.loop import Loop",
}


def written(root: Path, files: Mapping[str, str]) -> House:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return House.read(root)


@pytest.fixture
def small(tmp_path: Path) -> House:
    return written(tmp_path, SMALL)


def test_a_room_is_a_package_without_packages_or_a_module_beside_packages(small: House) -> None:
    assert set(small.rooms.arrows) == {
        "wssupervisor",
        "wssupervisor.errors",
        "wssupervisor.core",
        "wssupervisor.run",
        "wssupervisor.run.loop",
        "wssupervisor.run.disk",
    }


def test_arrows_lead_from_importers_to_what_they_import_late_imports_included(small: House) -> None:
    assert small.modules.arrows["wssupervisor.core.model"] == {"wssupervisor.errors"}
    assert small.rooms.arrows["wssupervisor.core"] == {"wssupervisor.errors"}
    assert small.rooms.arrows["wssupervisor.run.disk"] == {"wssupervisor.run.loop"}
    assert small.modules.count == 5


BY_NAME = {
    "wssupervisor/__init__.py": "",
    "wssupervisor/control/__init__.py": "",
    "wssupervisor/control/verbs.py": 'A = Verb("status", 1)\nB = _local("check", "")\nC = X("no")',
    "wssupervisor/commands/__init__.py": "",
    "wssupervisor/commands/cli.py": 'import_module(f"wssupervisor.commands.{verb}")',
    "wssupervisor/commands/status.py": "from wssupervisor.commands import screen",
    "wssupervisor/commands/check.py": 'import_module("wssupervisor.control.verbs")',
    "wssupervisor/commands/screen.py": "",
}


def test_arrows_lead_to_modules_that_are_loaded_by_the_name_of_a_verb(tmp_path: Path) -> None:
    house = written(tmp_path, BY_NAME)
    loader = house.modules.arrows["wssupervisor.commands.cli"]

    assert house.verbs == {"status", "check"}
    assert loader == {"wssupervisor.commands.status", "wssupervisor.commands.check"}
    assert house.rooms.arrows["wssupervisor.commands"] == {"wssupervisor.control"}


def test_a_name_that_cannot_be_known_is_an_error(tmp_path: Path) -> None:
    house = written(tmp_path, {**BY_NAME, "wssupervisor/commands/cli.py": "import_module(name)"})

    with pytest.raises(ValueError, match=r"cli.py:1 loads a module of unknown name"):
        _ = house.modules


def test_a_circle_is_found_and_shares_a_floor(small: House) -> None:
    assert small.modules.circles == [{"wssupervisor.run.loop", "wssupervisor.run.disk.file"}]
    assert small.rooms.floors["wssupervisor.core"] == 1
    assert small.rooms.floors["wssupervisor.run.loop"] == 2
    assert small.rooms.floors["wssupervisor.run.disk"] == 2


def test_the_inside_of_a_package_leaves_out_the_rest(small: House) -> None:
    assert small.inside("wssupervisor.core").arrows == {
        "wssupervisor.core.model": frozenset(),
        "wssupervisor.core.plan": {"wssupervisor.core.model"},
    }


def test_reach_follows_arrows_to_the_ground(small: House) -> None:
    assert small.modules.reached("wssupervisor.core.plan") == {
        "wssupervisor.core.model",
        "wssupervisor.errors",
    }


def test_an_arrow_within_a_row_or_up_is_upward() -> None:
    graph = Graph({"a": frozenset("bc"), "b": frozenset("c"), "c": frozenset()})

    assert upward(graph, {"a": 1, "b": 1, "c": 0}) == [("a", "b")]
    assert upward(graph, {"a": 2, "b": 1, "c": 0}) == []
    assert upward(graph, {"a": 0, "b": 1, "c": 2}) == [("a", "b"), ("a", "c"), ("b", "c")]
