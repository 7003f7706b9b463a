from collections.abc import Sequence
from pathlib import Path
from tests.bench.figures import RivalFigures
from tests.bench.plan import Plan

RIVALS: dict[str, object] = {}


def needs(rivals: Sequence[str]) -> list[str]:
    return []


def contest(plan: Plan, directory: Path, rivals: Sequence[str]) -> list[RivalFigures]:
    return []
