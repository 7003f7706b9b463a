"""debian/tests, as autopkgtest would run them: on the installed package, in a booted machine."""

import re
from pathlib import Path

import pytest

from tests.e2e.machine import Machine

TESTS = Path(__file__).resolve().parents[2] / "packaging/debian/tests"
NAMES = re.findall(r"^Tests: (.*)$", (TESTS / "control").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_of_the_package_passes_and_leaves_nothing(machine: Machine, name: str) -> None:
    before = left(machine)
    machine.write(f"/root/{name}", (TESTS / name).read_text())
    machine.run("chmod", "+x", f"/root/{name}")
    machine.run(f"/root/{name}")

    assert left(machine) == before


def left(machine: Machine) -> str:
    found = machine.run("find", "/etc", "/srv", "/run/wssupervisor", "-path", "*autopkgtest*")
    units = machine.systemctl("list-units", "--all", "--plain", "--no-legend", "wssupervisor@*")
    return found.stdout + units.stdout


def test_every_script_is_a_test() -> None:
    assert sorted(NAMES) == sorted(one.name for one in TESTS.iterdir() if one.name != "control")
