"""Modules, rooms, arrows, floors and circles, read from the source alone: nothing is imported.

A *module* is one file; an *arrow* leads from an importer to what it imports. Late imports count,
and so do modules that are loaded by name: `import_module(f"wssupervisor.commands.{verb}")` leads to
the module of each verb, by the rows of control/verbs.py. A *room* is a package without packages in
it, or a module beside packages. The *floor* of a node is the longest way down from it: the ground
floor (0) imports nothing of wssupervisor. The members of a circle share a floor.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = "wssupervisor"


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of the file's syntax tree; each text is parsed once."""
    return _nodes(path.read_text())


@cache
def _nodes(source: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(source)))


def verbs(path: Path) -> frozenset[str]:
    """The names of the rows of a table of verbs: the first argument of each `Verb` or `_local`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(
                value=ast.Call(
                    func=ast.Name(id="Verb" | "_local"), args=[ast.Constant(value=str(name)), *_]
                )
            ):
                found.add(name)
    return frozenset(found)


def imports(
    path: Path, modules: Mapping[str, Path], verbs: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Every module that is imported anywhere in the file, `from package import module` resolved.

    A module that is loaded by name counts once for each of the `verbs`. Raises ValueError for an
    import that cannot be followed.
    """
    for node in nodes(path):
        match node:
            case ast.Call(func=ast.Name(id="import_module"), args=[loaded]):
                match loaded:
                    case ast.Constant(value=str(module)):
                        yield module
                    case ast.JoinedStr(values=[ast.Constant(value=str(begin)), _]):
                        yield from (f"{begin}{verb}" for verb in verbs)
                    case _:
                        raise ValueError(f"{path}:{node.lineno} loads a module of unknown name")
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(origin), names=names, level=0):
                for name in names:
                    inner = f"{origin}.{name.name}"
                    yield inner if inner in modules else origin
            case ast.ImportFrom():
                raise ValueError(f"{path} imports relatively, which the picture does not follow")


@dataclass(frozen=True)
class Graph:
    """Nodes by name, each with the names that it imports."""

    arrows: Mapping[str, frozenset[str]]

    @property
    def count(self) -> int:
        """How many arrows there are."""
        return sum(len(targets) for targets in self.arrows.values())

    def importers(self, name: str) -> frozenset[str]:
        return frozenset(source for source, targets in self.arrows.items() if name in targets)

    def reached(self, name: str) -> frozenset[str]:
        """Everything that `name` imports, directly or not, without itself."""
        seen: set[str] = set()
        left = [name]
        while left:
            for target in self.arrows[left.pop()] - seen:
                seen.add(target)
                left.append(target)
        return frozenset(seen - {name})

    @cached_property
    def circles(self) -> list[frozenset[str]]:
        """Sets of nodes that import each other, largest first."""
        return sorted(
            {circle for circle in self._circle_of.values() if len(circle) > 1},
            key=lambda circle: (-len(circle), sorted(circle)),
        )

    @cached_property
    def floors(self) -> dict[str, int]:
        """Node -> floor."""
        known: dict[frozenset[str], int] = {}

        def floor(circle: frozenset[str]) -> int:
            if circle not in known:
                down = {self._circle_of[t] for name in circle for t in self.arrows[name]} - {circle}
                known[circle] = max((floor(other) + 1 for other in down), default=0)
            return known[circle]

        return {name: floor(circle) for name, circle in self._circle_of.items()}

    @cached_property
    def _circle_of(self) -> dict[str, frozenset[str]]:
        reached = {name: self.reached(name) for name in self.arrows}
        return {
            name: frozenset({name} | {other for other in reached[name] if name in reached[other]})
            for name in self.arrows
        }


@dataclass(frozen=True)
class House:
    """All modules below one package directory."""

    paths: Mapping[str, Path]

    @classmethod
    def read(cls, root: Path = ROOT, top: str = TOP) -> "House":
        return cls({module_name(path, root): path for path in sorted((root / top).rglob("*.py"))})

    @cached_property
    def packages(self) -> frozenset[str]:
        return frozenset(name for name, path in self.paths.items() if path.stem == "__init__")

    @cached_property
    def verbs(self) -> frozenset[str]:
        """The names of all verbs, for the modules that are loaded by them."""
        table = self.paths.get(f"{TOP}.control.verbs")
        return frozenset() if table is None else verbs(table)

    @cached_property
    def modules(self) -> Graph:
        """One node per file. A package's own `__init__` counts when something is taken from it."""
        return Graph(
            {
                name: frozenset(set(imports(path, self.paths, self.verbs)) & set(self.paths))
                - {name}
                for name, path in self.paths.items()
            }
        )

    @cached_property
    def rooms(self) -> Graph:
        return self._merged(self.room)

    def inside(self, package: str) -> Graph:
        """One package alone: its packages and modules are the rooms, the rest is left out."""
        depth = package.count(".") + 2
        return self._merged(
            lambda module: ".".join(module.split(".")[:depth]),
            lambda module: below(module, package) and module != package,
        )

    def room(self, module: str) -> str:
        """The outermost package that holds the module and no further package; else the module."""
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            name = ".".join(parts[:end])
            if not any(below(other, name) and other != name for other in self.packages):
                return name
        return module

    def _merged(
        self, room: Callable[[str], str], wanted: Callable[[str], bool] = lambda _: True
    ) -> Graph:
        arrows: dict[str, set[str]] = {}
        for module, targets in self.modules.arrows.items():
            if wanted(module):
                rooms = arrows.setdefault(room(module), set())
                rooms.update(room(target) for target in targets if wanted(target))
        return Graph({name: frozenset(targets - {name}) for name, targets in arrows.items()})


def upward(graph: Graph, order: Mapping[str, int]) -> list[tuple[str, str]]:
    """Arrows that do not lead to a lower floor of the declared order (name -> floor), sorted."""
    return sorted(
        (source, target)
        for source, targets in graph.arrows.items()
        for target in targets
        if source in order and target in order and order[source] <= order[target]
    )
