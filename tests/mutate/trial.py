"""One trial: the tests of `fleet/` in a process of its own, one module of it being changed.

The process is forked from one that has loaded pytest and hypothesis, which saves most of its start.
It reads a copy of the tree, and gets the changed module from memory: no file is ever changed.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

import hypothesis
import hypothesis.stateful
import pytest

PACKAGE = "wssupervisor.fleet"
UNIT = Path("tests/unit/fleet")
WALKS = Path("tests/property/test_fleet.py")
MEMORY_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class Plan:
    """What each trial runs: `walks` is how many, `cpu_seconds` and `memory` bound one trial."""

    copy: Path
    walks: int
    seed: int
    cpu_seconds: int


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds one module of the package, with another text than its file has."""

    def __init__(self, name: str, file: Path, source: str) -> None:
        self.name, self.file, self.source = name, file, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        del path, target
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self.file))

    def get_source(self, fullname: str) -> str:
        del fullname
        return self.source

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        return compile(self.source, self.file, "exec")


class _FewWalks:
    """Random walks that neither repeat the failures of earlier ones nor make their own shorter."""

    def __init__(self, walks: int) -> None:
        self.walks = walks

    def pytest_collection_modifyitems(self) -> None:
        walks = sys.modules.get("tests.property.test_fleet")
        if walks is None:
            return
        walker = walks.TestFleet
        walker.settings = hypothesis.settings(
            walker.settings,
            max_examples=self.walks,
            phases=[hypothesis.Phase.generate],
            database=None,
            derandomize=False,
        )


def files_for(copy: Path, module: str | None) -> list[list[str]]:
    """Test files by turns: the module's own, if it has one, and then the others and the walks."""
    own = UNIT / f"test_{module}.py"
    units = sorted(one.relative_to(copy) for one in (copy / UNIT).glob("test_*.py"))
    others = [one for one in units if one != own]
    turns = [[own] if own in units else [], [*others, WALKS]]
    return [[str(one) for one in turn] for turn in turns if turn]


def run(plan: Plan, module: str | None = None, source: str | None = None) -> int:
    """pytest's exit status. The process must end with it, because it changes what is imported."""
    resource.setrlimit(resource.RLIMIT_CPU, (plan.cpu_seconds, plan.cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.chdir(plan.copy)
    for name in [one for one in sys.modules if one.split(".")[0] in ("tests", "wssupervisor")]:
        del sys.modules[name]
    sys.path.insert(0, str(plan.copy))
    if module is not None and source is not None:
        sys.dont_write_bytecode = True
        file = plan.copy.joinpath(*PACKAGE.split("."), f"{module}.py")
        sys.meta_path.insert(0, _Changed(f"{PACKAGE}.{module}", file, source))
    for files in files_for(plan.copy, module):
        status = _run_tests(plan, files)
        if status != 0:
            return status
    return 0


def _run_tests(plan: Plan, files: list[str]) -> int:
    arguments = ["-x", "-q", "--tb=short", "--no-header", "--color=no"]
    arguments += ["-p", "no:cacheprovider", "-p", "no:xdist"]
    arguments += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    arguments += [f"--hypothesis-seed={plan.seed}", *files]
    return int(pytest.main(arguments, plugins=[_FewWalks(plan.walks)]))
