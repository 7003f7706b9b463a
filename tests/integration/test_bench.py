"""`./dev bench` measures what it says: the smallest run, without the alternatives."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness.daemon import ROOT, environment

HANG_SECONDS = 280.0
"""Guard of a whole bench, which takes half a minute alone: pytest's would not show its errors."""

pytestmark = pytest.mark.slow(
    "servers are measured one after the other, for half a second each and more"
)
PARTS = ("overhead", "balance", "start", "scrape", "stall", "output")


def bench(report: Path, *arguments: str, shows: str = "| target") -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--smallest", "--json", str(report), *arguments],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert shows in done.stdout
    found = json.loads(report.read_text())
    assert isinstance(found, dict)
    return found


def numbers(value: Any, path: str = "") -> dict[str, float | None]:
    """Every figure below a value, by where it stands; texts are left out."""
    if isinstance(value, dict):
        return {
            name: figure
            for key, inner in value.items()
            for name, figure in numbers(inner, f"{path}.{key}").items()
        }
    return {} if isinstance(value, str | bool) else {path: value}


@pytest.mark.alone
def test_the_bench_reports_every_figure(tmp_path: Path) -> None:
    report = bench(tmp_path / "bench.json", "--only", *PARTS)

    [size] = report["sizes"]
    scraping = report["scraping"]
    figures = {**numbers(size), **numbers(report["balance"]), **numbers(report["start"])}
    counts = {".misrouted", ".bare.broken", ".supervised.broken"}
    counts |= {f".{side}.connects.failed" for side in ("bare", "supervised")}
    assert {name: figures[name] for name in counts} == dict.fromkeys(counts, 0)
    assert (scraping["held"], scraping["broken"]) == (10, 0)
    assert 0 < scraping["scrape_ms"] < 1000
    assert 0 < scraping["scraped_percent"] < 100
    assert [one["lines"] for one in report["output"]] == [30_000, 30_000]
    assert [one["out_of_order"] + one["unaccounted"] for one in report["output"]] == [0, 0]
    standing = [one for one in report["stalled"] if one["scenario"].startswith("echo")]
    assert [one["side"] for one in standing] == ["bare", "supervised"] * 2
    assert [one["failed"] for one in standing] == [0] * 4
    assert all(one["clients"] > 0 for one in standing)
    assert all(0 < one["p50_seconds"] <= one["worst_seconds"] for one in standing)
    assert all(1 <= one["processes"] <= one["most_processes"] for one in standing)
    for name, figure in figures.items():
        assert isinstance(figure, int | float), name
        # What is left when others' share is taken off may be nothing, or less, to a clock tick.
        low = -50.0 if name.endswith("own_share_ms") else 0.0
        assert low <= figure < 1e6, (name, figure)
    assert size["held"] == 10
    assert 1.0 <= report["balance"]["supervised"] <= report["balance"]["workers"]
    assert 5 < size["idle"]["pss_mb"] < 200
    assert size["own_share_ms"] < size["reload_ms"]
    assert report["start"]["own_share_ms"] < report["start"]["start_ms"]
    assert report["rivals"] == []
    assert len(report["checks"]) == 13
    assert all(check["met"] in {True, False} for check in report["checks"])


def test_slow_clients_make_no_processes_of_a_server(tmp_path: Path) -> None:
    report = bench(
        tmp_path / "bench.json", "--only", "slowloris", shows="| slow-loris clients against"
    )
    found = [one for one in report["besieged"] if one["server"] == "uvicorn"]

    assert ["bare", "supervised"] == [one["side"] for one in found]
    assert [(1, 1, 1)] * 2 == [
        (one["processes_before"], one["most_processes"], one["processes"]) for one in found
    ]
    assert all(one["slow_held"] > 0 and one["answered"] > 0 for one in found)
    assert all(0 < one["memory_before_mb"] <= one["most_memory_mb"] for one in found)
