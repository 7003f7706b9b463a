"""What holds across modules: which may import which, and what the project's own files say."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import wssupervisor
from tests.house.picture import below, imports, module_name, nodes

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "wssupervisor"

PURE = {  # no I/O, no clock, no chance
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "types",
    "typing",
}
BESIDE_THE_FLEET = {"wssupervisor.plural"}
"""Pure as well, and it imports nothing."""
IMPURE_NAMES = {"open", "input", "print", "exec", "eval", "__import__", "breakpoint"}

# An importer of runtime can touch the OS. Beside the daemon only `wssctl check`: it shows whether
# a release could run, which is looked up on disk exactly as a reload does it; and `events` and
# `history` of an instance that is not running, which read its files as it does.
USERS_OF_RUNTIME = {
    "wssupervisor.daemon",
    "wssupervisor.commands.check",
    "wssupervisor.commands.recorded",
}
USERS_OF_WEBSOCKETS = {"wssupervisor.probe", "wssupervisor.worker.serving"}
"""A process of its own, and what an application asks for by name."""
USERS_OF_RICH = {"wssupervisor.commands.watch"}
"""Optional, and imported when a screen is to be drawn."""
USERS_OF_SYSTEMD = {"wssupervisor.systemd_protocol"}


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def modules_below(package: str) -> list[str]:
    return [module for module in MODULES if below(module, package)]


def own(module: str) -> set[str]:
    return {name for name in imports(MODULES[module], MODULES) if below(name, "wssupervisor")}


def foreign(module: str) -> set[str]:
    return {
        name.partition(".")[0]
        for name in imports(MODULES[module], MODULES)
        if not below(name, "wssupervisor")
    }


# What wssctl may load: it starts in 100 ms and knows a daemon only through its socket.
ALLOWED_TO_COMMANDS = {
    *modules_below("wssupervisor.commands"),
    "wssupervisor",
    "wssupervisor.control.client",
    "wssupervisor.control.documents",
    "wssupervisor.control.fitting",
    "wssupervisor.control.hints",
    "wssupervisor.control.paths",
    "wssupervisor.control.verbs",
    "wssupervisor.durations",
    "wssupervisor.errors",
    "wssupervisor.files",
    "wssupervisor.fleet.notes",
    "wssupervisor.harmless",
    "wssupervisor.plural",
    "wssupervisor.stdio",
}
ALLOWED_TO_CHECK = ALLOWED_TO_COMMANDS | {
    "wssupervisor.config.model",
    "wssupervisor.config.schema",
    "wssupervisor.runtime.releases.release",
    "wssupervisor.runtime.releases.unpinned",
    "wssupervisor.start_directory",
}
ALLOWED_TO_RECORDED = {
    "wssupervisor.runtime.history.history",
    "wssupervisor.runtime.history.file",
    "wssupervisor.runtime.history.reloads",
}
ALLOWED_TO_CLIENT = {
    "wssupervisor.control",
    "wssupervisor.control.documents",
    "wssupervisor.control.fitting",
    "wssupervisor.control.hints",
    "wssupervisor.control.paths",
    "wssupervisor.control.protocol",
    "wssupervisor.control.safe_place",
    "wssupervisor.control.verbs",
    "wssupervisor.errors",
}
NOT_FOR_WSSCTL = {"asyncio", "psutil", "rich", "structlog", "systemd", "websockets"}  # slow to load


@pytest.mark.parametrize("module", modules_below("wssupervisor.fleet"))
def test_the_fleet_imports_only_pure_modules(module: str) -> None:
    assert foreign(module) <= PURE
    assert all(
        below(name, "wssupervisor.fleet") or name in BESIDE_THE_FLEET for name in own(module)
    )


@pytest.mark.parametrize("module", modules_below("wssupervisor.fleet"))
def test_the_fleet_calls_no_builtin_that_does_something(module: str) -> None:
    names = {node.id for node in nodes(MODULES[module]) if isinstance(node, ast.Name)}

    assert names & IMPURE_NAMES == set()


def test_only_the_daemon_and_check_import_runtime() -> None:
    users = {
        module
        for module in MODULES
        if not below(module, "wssupervisor.runtime")
        and any(below(name, "wssupervisor.runtime") for name in own(module))
    }

    assert users <= USERS_OF_RUNTIME


BY_PATH = {"read_text", "read_bytes", "write_text", "write_bytes", "chmod", "chown", "lchown"}
OPENS_BY_PATH = {
    "wssupervisor.files": "regular files alone, with a limit",
    "wssupervisor.own_directory": "files of our own, below a directory of our own",
    "wssupervisor.lock_file": "a lock, which must be a regular file of our own",
    "wssupervisor.control.paths": "directories, without following a link",
    "wssupervisor.runtime.listeners.unix_pool": "the very socket that was bound (O_PATH)",
    "wssupervisor.commands.init": "what is not there yet (O_EXCL), and a temporary directory",
    "wssupervisor.commands.init_account": "drop-ins of other instances in /etc; root runs init",
    # /proc, /sys, /dev/null, or descriptors:
    "wssupervisor.commands.streams": "/dev/null",
    "wssupervisor.runtime.handover.attempts": "a descriptor of own_directory",
    "wssupervisor.runtime.releases.path_access": "/proc",
    "wssupervisor.runtime.handover.document": "a memfd",
    "wssupervisor.runtime.listeners.handshakes": "/proc",
    "wssupervisor.runtime.kernel.control_group": "/proc, /sys",
    "wssupervisor.runtime.workers.helper": "a pipe",
    "wssupervisor.runtime.listeners.holders": "/proc",
    "wssupervisor.runtime.handover.state_file": "/proc",
    "wssupervisor.runtime.kernel.descent": "/proc",
    "wssupervisor.runtime.kernel.procfs": "/proc",
    "wssupervisor.runtime.workers.child": "/dev/null",
    "wssupervisor.runtime.workers.leftover_processes": "/proc",
    "wssupervisor.runtime.workers.output": "/proc",
    "wssupervisor.runtime.kernel.private_tmp": "/proc",
    "wssupervisor.runtime.workers.process": "/dev/null",
    "wssupervisor.runtime.listeners.reach": "/proc",
    "wssupervisor.runtime.handover.found_workers": "/proc",
    "wssupervisor.runtime.workers.relay": "/dev/null",
    "wssupervisor.runtime.workers.relay_program": "/proc",
    "wssupervisor.runtime.listeners.slot_memory": "a descriptor of own_directory",
    "wssupervisor.runtime.systemd": "/proc",
    "wssupervisor.runtime.controlling_terminal": "/dev/tty",
    "wssupervisor.runtime.kernel.threads": "/proc",
    "wssupervisor.stdio": "/dev/null",
    "wssupervisor.worker.sockets": "/proc",
}
"""A file at a path may be another's, a FIFO, a device, huge: who opens one has a reason here."""


def opens_by_path(module: str) -> bool:
    for node in nodes(MODULES[module]):
        match node:
            case ast.Call(func=ast.Name(id="open")):
                return True
            case ast.Call(func=ast.Attribute(attr="open" | "fdopen", value=ast.Name(id="os"))):
                return True
            case ast.Call(func=ast.Attribute(attr=name)) if name in BY_PATH:
                return True
    return False


def test_files_are_opened_by_path_only_for_a_reason() -> None:
    assert {module for module in MODULES if opens_by_path(module)} == set(OPENS_BY_PATH)


OF_ANYTHING = {
    "wssupervisor.control.protocol": "Object: any JSON object of the control socket, in one place",
    "wssupervisor.commands.sentences": "a note of a daemon that may be older or newer",
    "wssupervisor.control.fitting": "the annotations of a TypedDict, which are no values",
    "wssupervisor.logging": "structlog's event, whose fields are those of all callers",
    "wssupervisor.worker.asgi": "scope and messages of ASGI, whose keys are the server's",
}
"""Modules with a mapping whose values may be anything. All others name a type for each key."""


def names_a_mapping_of_anything(module: str) -> bool:
    for node in nodes(MODULES[module]):
        match node:
            case ast.Subscript(
                value=ast.Name(id="dict" | "Mapping" | "MutableMapping"),
                slice=ast.Tuple(elts=[_, ast.Name(id="Any")]),
            ):
                return True
    return False


def test_a_mapping_of_anything_has_a_reason() -> None:
    assert {one for one in MODULES if names_a_mapping_of_anything(one)} == set(OF_ANYTHING)


# What saves and restores the fleet's state has to know it; all others read a view of it.
SAVERS = modules_below("wssupervisor.runtime.handover")
READ_OF_STATE = {"Verdict"}


@pytest.mark.parametrize(
    "module", [one for one in modules_below("wssupervisor.runtime") if one not in SAVERS]
)
def test_runtime_reads_the_fleet_through_its_view(module: str) -> None:
    for node in nodes(MODULES[module]):
        match node:
            case ast.Attribute(attr="state", value=ast.Attribute(attr="fleet")):
                pytest.fail(f"line {node.lineno} reads the fleet's state")
            case ast.ImportFrom(module="wssupervisor.fleet.state", names=names):
                assert {name.name for name in names} <= READ_OF_STATE


def test_python_systemd_has_one_user() -> None:
    users = {module for module in MODULES if "systemd" in foreign(module)}

    assert users <= USERS_OF_SYSTEMD


@pytest.mark.parametrize("module", modules_below("wssupervisor.runtime"))
def test_runtime_imports_neither_commands_nor_the_entry_point(module: str) -> None:
    for name in own(module):
        assert not below(name, "wssupervisor.commands")
        assert not below(name, "wssupervisor.daemon")
        assert not below(name, "wssupervisor.control.client")


@pytest.mark.parametrize("module", modules_below("wssupervisor.control.client"))
def test_the_client_imports_the_standard_library_and_the_protocol(module: str) -> None:
    assert foreign(module) <= sys.stdlib_module_names
    assert own(module) <= ALLOWED_TO_CLIENT


@pytest.mark.parametrize("module", modules_below("wssupervisor.commands"))
def test_commands_reach_a_daemon_through_the_client_only(module: str) -> None:
    reads_files = module in {
        "wssupervisor.commands.check",
        "wssupervisor.commands.init",
        "wssupervisor.commands.socket_unit",
    }

    optional = {"rich"} if module in USERS_OF_RICH else set()
    assert foreign(module) <= sys.stdlib_module_names | optional
    allowed = ALLOWED_TO_CHECK if reads_files else ALLOWED_TO_COMMANDS
    if module == "wssupervisor.commands.recorded":
        allowed = ALLOWED_TO_COMMANDS | ALLOWED_TO_RECORDED
    assert own(module) <= allowed


@cache
def loaded_with(module: str) -> frozenset[str]:
    """All modules of a new process that has imported this one."""
    code = f"import sys, {module}; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return frozenset(answer.stdout.split())


def test_the_daemon_loads_no_rich() -> None:
    pytest.importorskip("rich", reason="no rich here that could be loaded")
    found = loaded_with("wssupervisor.daemon")

    assert {"structlog.dev", "wssupervisor.runtime.supervisor"} <= found
    assert not any(below(name, "rich") for name in found)


def test_wssctl_loads_nothing_slow_before_it_knows_its_verb() -> None:
    loaded = loaded_with("wssupervisor.commands.cli")

    assert loaded & NOT_FOR_WSSCTL == set()
    assert not any(below(name, "wssupervisor.runtime") for name in loaded)


def test_nothing_that_the_daemon_loads_is_websockets() -> None:
    users = {module for module in MODULES if "websockets" in foreign(module)}

    assert users == USERS_OF_WEBSOCKETS
    for module in MODULES:
        if module != "wssupervisor.worker":
            assert own(module) & users == set()
    assert not any(below(name, "websockets") for name in loaded_with("wssupervisor.daemon"))


def test_only_an_instance_with_http_loads_h11() -> None:
    users = {module for module in MODULES if "h11" in foreign(module)}

    assert users == {"wssupervisor.runtime.monitoring.http_server"}
    assert "h11" not in loaded_with("wssupervisor.daemon")


TOUCHES_DESCRIPTORS = {
    "wssupervisor.worker.handoff.claim",
    "wssupervisor.worker.handoff.exchange",
}
WORKERS_PURE = {
    "wssupervisor.worker.lines",
    "wssupervisor.worker.pacing",
    "wssupervisor.worker.protocol",
    *modules_below("wssupervisor.worker.handoff"),
} - TOUCHES_DESCRIPTORS
CODECS = {"base64", "binascii", "zlib"}
"""Pure as well."""


@pytest.mark.parametrize("module", modules_below("wssupervisor.worker"))
def test_the_workers_library_imports_nothing_of_the_daemon(module: str) -> None:
    assert foreign(module) <= sys.stdlib_module_names | {"websockets"}
    assert all(below(name, "wssupervisor.worker") or name == "wssupervisor" for name in own(module))
    if module in WORKERS_PURE:
        assert foreign(module) <= PURE | CODECS


def test_a_worker_loads_no_handoff_before_it_is_asked_for_one() -> None:
    code = "import sys, wssupervisor.worker; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert not any(below(name, "wssupervisor.worker.handoff") for name in answer.stdout.split())


def test_every_module_is_covered_by_these_rules() -> None:
    for package in ("fleet", "runtime", "control.client", "commands"):
        assert modules_below(f"wssupervisor.{package}") != []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert wssupervisor.__version__ == project["version"]
    assert f"\n## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_homepage_is_the_same_everywhere() -> None:
    homepage = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
    control = (ROOT / "packaging/debian/control").read_text()
    upstream = (ROOT / "packaging/debian/upstream/metadata").read_text()

    assert f"\nHomepage: {homepage}\n" in control
    assert upstream.count(homepage) == upstream.count("://")


def test_the_package_needs_the_versions_that_the_wheel_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    debian = {"systemd-python": "python3-systemd"}
    control = (ROOT / "packaging/debian/control").read_text()
    package = control.partition("\nPackage: ")[2]

    for one in (*project["dependencies"], *extras["systemd"], *extras["watch"]):
        found = re.match(r"([a-z0-9-]+)>=([0-9.]+)", one)
        assert found is not None, one
        name = debian.get(found[1], f"python3-{found[1]}")
        assert f"{name} (>= {found[2]})" in package


VERBS = (
    "demo",
    "test",
    "soak",
    "hunt",
    "fuzz",
    "mutate",
    "faults",
    "bench",
    "deb",
    "e2e",
    "debian12",
    "trees",
    "pictures",
    "house",
    "voice",
    "lint",
    "help",
)


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "dev", *arguments], capture_output=True, text=True, check=False, timeout=10
    )


def test_dev_alone_says_what_it_can_do() -> None:
    answer = dev()

    assert answer.returncode == 0
    for verb in VERBS[:-1]:
        assert f"./dev {verb}" in answer.stdout


def test_dev_answers_an_unknown_verb_with_those_there_are() -> None:
    answer = dev("bake")

    assert answer.returncode == 2
    assert f"Use one of: {', '.join(VERBS)}" in answer.stderr


@pytest.mark.parametrize("module", MODULES)
def test_no_pattern_needs_what_python_3_11_2_matches_wrongly(module: str) -> None:
    """Debian 12's Python: https://github.com/python/cpython/issues/106052."""
    for node in nodes(MODULES[module]):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.")):
            continue
        for text in (one for one in ast.walk(node) if isinstance(one, ast.Constant)):
            pattern = re.sub(r"\\.|\[[^]]*\]", "x", str(text.value))
            assert not re.search(r"[*+?}]\+|\(\?>", pattern), f"line {node.lineno}: possessive"
