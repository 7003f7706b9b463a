"""`./dev house [PACKAGE]`: the import picture, as text.

Without an argument: the whole package with its rooms, and a summary of each large package. With one
(`runtime`, `fleet`): the rooms inside that package.
"""

import argparse
import signal
from collections.abc import Iterator

from tests.house.order import FLOOR_OF
from tests.house.picture import TOP, Graph, House, upward

ENTRIES = ("commands.cli", "commands.check", "commands.status", "daemon")
"""Programs and verbs whose reach is printed: how many modules they import, directly or not."""


def short(name: str) -> str:
    return name.removeprefix(f"{TOP}.")


def full(name: str) -> str:
    return name if name == TOP else f"{TOP}.{name}"


def listed(names: Iterator[str] | list[str] | frozenset[str]) -> str:
    return ", ".join(sorted(short(name) for name in names)) or "-"


def summary(title: str, what: str, graph: Graph) -> Iterator[str]:
    floors = max(graph.floors.values(), default=-1) + 1
    yield f"{title}: {len(graph.arrows)} {what}, {floors} floors, {graph.count} arrows"
    yield f"  circles: {len(graph.circles)}"
    yield from (f"    {listed(circle)}" for circle in graph.circles)


def by_floor(graph: Graph) -> Iterator[str]:
    """Each node with what it imports, the top floor first."""
    for floor in sorted(set(graph.floors.values()), reverse=True):
        yield f"  floor {floor}"
        for name in sorted(graph.arrows):
            if graph.floors[name] == floor:
                yield f"    {short(name)} -> {listed(graph.arrows[name])}"


def against_the_order(rooms: Graph) -> Iterator[str]:
    """The arrows that the declared order forbids, and the rooms that it lacks."""
    known = {full(room): floor for room, floor in FLOOR_OF.items()}
    arrows = upward(rooms, known)
    yield f"  upward arrows, by the order declared in tests/house/order.py: {len(arrows)}"
    yield from (f"    {short(source)} -> {short(target)}" for source, target in arrows)
    undeclared = [room for room in rooms.arrows if room not in known]
    if undeclared:
        yield f"  not declared: {listed(undeclared)}"
    gone = [room for room in known if room not in rooms.arrows]
    if gone:
        yield f"  declared, but gone: {listed(gone)}"


def widest(graph: Graph, number: int = 10) -> Iterator[str]:
    by_imports = sorted(graph.arrows, key=lambda name: (-len(graph.arrows[name]), name))
    yield "widest importers (modules of wssupervisor that they import)"
    yield from (f"  {len(graph.arrows[name]):3} {short(name)}" for name in by_imports[:number])
    importers = {name: len(graph.importers(name)) for name in graph.arrows}
    by_importers = sorted(importers, key=lambda name: (-importers[name], name))
    yield "most imported (modules of wssupervisor that import them)"
    yield from (f"  {importers[name]:3} {short(name)}" for name in by_importers[:number])


def reach(house: House) -> Iterator[str]:
    yield "reach (modules of wssupervisor imported, directly or not; late or by name, too)"
    for name in ENTRIES:
        reached = house.modules.reached(full(name))
        of_runtime = sum(other.startswith(f"{TOP}.runtime.") for other in reached)
        yield f"  {len(reached):3} {name}, of which {of_runtime} of runtime"


def whole(house: House) -> Iterator[str]:
    yield from summary(TOP, "modules", house.modules)
    yield from summary(TOP, "rooms", house.rooms)
    yield from against_the_order(house.rooms)
    yield from by_floor(house.rooms)
    for package in sorted(house.packages - {TOP}):
        if any(package in other for other in house.inside(TOP).arrows):
            yield from summary(package, "rooms inside", house.inside(package))
    yield from widest(house.modules)
    yield from reach(house)


def inside(house: House, package: str) -> Iterator[str]:
    graph = house.inside(package)
    yield from summary(package, "rooms inside", graph)
    yield from by_floor(graph)


def main() -> None:
    """Print the picture. A package that does not exist is a usage error (exit status 2)."""
    parser = argparse.ArgumentParser(prog="./dev house")
    parser.add_argument("package", nargs="?", help="a package of wssupervisor, as runtime")
    wanted = parser.parse_args().package
    house = House.read()
    if wanted is not None and full(wanted) not in house.packages:
        parser.error(f"no such package: {wanted} (there are: {listed(house.packages - {TOP})})")
    print("\n".join(whole(house) if wanted is None else inside(house, full(wanted))))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # ./dev house | head
    main()
