"""The exit status of a reload to each bad release, by server and by readiness method."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.figures import Verdict
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.bench.rivals.tools import VENV, find
from tests.harness.releases import Releases
from tests.harness.settings import Settings
from tests.harness.verdicts import KINDS, Server, judge, others, ours

PACKAGES = ("gunicorn", "hypercorn", "uvicorn-worker", "websockets", "uvicorn")
PYTHON = str(VENV / "bin" / "python")
MODULES = Path("/usr/share/nodejs")
"""The directory in which Debian installs `ws` (node-ws)."""


def needs() -> list[str]:
    return [] if all(map(find, ("gunicorn", "hypercorn"))) else [f"pip {one}" for one in PACKAGES]


def servers() -> Iterator[Server]:
    yield from ours(sys.executable)
    if find("gunicorn") and find("hypercorn"):
        modules = str(MODULES) if (MODULES / "ws").is_dir() else None
        yield from others(PYTHON, shutil.which("node"), modules)


def measure(plan: Plan, directory: Path) -> list[Verdict]:
    found: list[Verdict] = []
    kinds = KINDS if plan.verdicts is None else [one for one in KINDS if one.name in plan.verdicts]
    for number, server in enumerate(servers()):
        say(f"reloads of {server.name} to bad releases")
        place = directory / f"verdicts-{number}"
        place.mkdir()
        releases = Releases(place)
        releases.install("bench")
        settings = replace(Settings(f"verdicts-{number}", releases), keep="0s")
        rows = judge(server, settings, server.ways, kinds)
        found += [
            Verdict(one.server, one.by, one.kind, one.status, one.expected, one.reason)
            for one in rows
        ]
    return found


def table(verdicts: Sequence[Verdict]) -> tuple[Sequence[str], list[list[str]]]:
    """One row for each server and method. `!` marks a wrong exit status."""
    kinds = list(dict.fromkeys(one.kind for one in verdicts))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in verdicts:
        mark = "" if one.status == one.expected else "!"
        rows.setdefault((one.server, one.by), {})[one.kind] = f"{one.status}{mark}"
    head = ("exit status of a reload to a release that", "by", *kinds)
    return head, [
        [server, by, *(found.get(kind, "-") for kind in kinds)]
        for (server, by), found in rows.items()
    ]
