"""One trial: the tests of `fleet/` in a forked process, one condition of it being changed.

The process is forked from one that has collected all tests, so that a trial takes no longer than
the tests that it needs. A change in a function becomes that function's code. A change elsewhere,
such as a constant, must be there when modules are imported: its trial imports and collects again.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import hypothesis
import hypothesis.stateful
import pytest

from tests.mutate.changes import Change

PACKAGE = "wssupervisor.fleet"
UNIT = "tests/unit/fleet"
WALKS = "tests/property/test_fleet.py"
MEMORY_BYTES = 2 << 30
ENDED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
"""pytest's exit status after a collection without errors; that tests ran is not known to it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What each trial runs, of a copy of the tree; `walks`: how many, `seed`: which.

    `cpu_seconds`: what one trial may take.
    """

    copy: Path
    walks: int
    seed: int
    cpu_seconds: int

    def file(self, module: str) -> Path:
        return self.copy.joinpath(*PACKAGE.split("."), f"{module}.py")


class _Tests:
    """A pytest plugin: few walks, no longer than they are; `body` takes the place of running."""

    def __init__(self, plan: Plan, body: Callable[[pytest.Session], None]) -> None:
        self.plan, self.body = plan, body

    def pytest_collection_modifyitems(self) -> None:
        walks = sys.modules.get("tests.property.test_fleet")
        if walks is None:
            return
        walker = walks.TestFleet
        walker.settings = hypothesis.settings(
            walker.settings,
            max_examples=self.plan.walks,
            phases=[hypothesis.Phase.generate],
            database=None,
            derandomize=False,
        )

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.body(session)
        return True


def collected(
    plan: Plan, body: Callable[[pytest.Session], None], files: Sequence[str] = (UNIT, WALKS)
) -> int:
    """Calls `body` once the tests are collected. Returns pytest's exit status."""
    os.chdir(plan.copy)
    _forget(plan)
    sys.path.insert(0, str(plan.copy))
    arguments = [
        "-s",
        "-o",
        "addopts=",
        "-p",
        "no:terminal",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    arguments += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    arguments += [f"--hypothesis-seed={plan.seed}", *files]
    return int(pytest.main(arguments, plugins=[_Tests(plan, body)]))


def _forget(plan: Plan) -> None:
    """Modules of the project are imported again, from the copy."""
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or "/")
        if file.is_relative_to(plan.copy) or name.split(".")[0] in ("tests", "wssupervisor"):
            del sys.modules[name]


def run(plan: Plan, session: pytest.Session, change: Change | None, failed: Path) -> None:
    """Ends the process: with status 0 if all tests pass, with 1 after the first that fails.

    Its name is written to the file `failed`.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (plan.cpu_seconds, plan.cpu_seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    module = None if change is None else change.module
    if change is None or _exchange(plan, change):
        _run_items(session, module, failed)
        os._exit(0)
    sys.dont_write_bytecode = True
    source = change.apply(plan.file(change.module).read_text())
    name = f"{PACKAGE}.{change.module}"
    sys.meta_path.insert(0, _Changed(name, plan.file(change.module), source))
    own = f"{UNIT}/test_{change.module}.py"
    for files in ([own] if Path(own).exists() else [], [UNIT, WALKS]):
        if (
            files
            and collected(plan, lambda new: _run_items(new, module, failed), files) not in ENDED
        ):
            failed.write_text("collection")
            os._exit(1)
    os._exit(0)


def _run_items(session: pytest.Session, module: str | None, failed: Path) -> None:
    """Tests of the changed module first, walks last. Ends the process with the first that fails."""

    class FirstFailure:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.write_text(report.nodeid)
                os._exit(1)

    session.config.pluginmanager.register(FirstFailure())
    own = f"{UNIT}/test_{module}.py::"
    items = sorted(
        session.items,
        key=lambda one: (one.nodeid.startswith(WALKS), not one.nodeid.startswith(own)),
    )
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


# -- a change in a function -----------------------------------------------------------------------


def _exchange(plan: Plan, change: Change) -> bool:
    """Give the changed function its new code; False if the change is in none."""
    source = plan.file(change.module).read_text()
    file = str(plan.file(change.module))
    before = dict(_functions(compile(source, file, "exec")))
    after = dict(_functions(compile(change.apply(source), file, "exec")))
    changed = [name for name, code in after.items() if code != before.get(name)]
    if len(changed) != 1 or not _is_inside(change, before[changed[0]]):
        return False
    found = _function(sys.modules[f"{PACKAGE}.{change.module}"], changed[0])
    if found is None:
        return False
    found.__code__ = after[changed[0]]
    return True


def _is_inside(change: Change, code: CodeType) -> bool:
    lines = [line for _, _, line in code.co_lines() if line is not None]
    return code.co_firstlineno <= change.line <= max(lines, default=0)


def _functions(code: CodeType, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Code of the functions of a module and of its classes, by the names that lead there."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_name.startswith("<"):
            if constant.co_flags & 0x2:  # CO_NEWLOCALS: a function and not a class
                yield (*path, constant.co_name), constant
            else:
                yield from _functions(constant, (*path, constant.co_name))


def _function(module: ModuleType, path: tuple[str, ...]) -> FunctionType | None:
    found: Any = module
    for name in path:
        found = vars(found)[name]
    match found:
        case FunctionType():
            return found
        case property(fget=FunctionType() as inner):
            return inner
        case staticmethod(__func__=FunctionType() as inner):
            return inner
    return None


# -- a change elsewhere ---------------------------------------------------------------------------


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
