"""What monitoring reads, judged by its own parser."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.fleet.driven import Driven, draining, serving, worker
from wssupervisor import metrics
from wssupervisor.fleet.counters import Histogram
from wssupervisor.fleet.events import WorkerExited
from wssupervisor.fleet.model import Exit
from wssupervisor.fleet.view import view

Key = tuple[str, frozenset[tuple[str, str]]]


def seen(fleet: Driven, now: float, name: str = "chat") -> metrics.Seen:
    state = fleet.state
    return metrics.Seen(
        name=name,
        version="1.2",
        view=view(state, now),
        ready=True,
        listeners={"ws": metrics.Listener("127.0.0.1:1", "steered", "self")},
        counters=state.counters,
        lag=Histogram(),
        own=metrics.Own(1024, 0.25, 9),
        now=now,
        wall=1_000_000.0,
    )


def parsed(found: metrics.Seen) -> dict[Key, float]:
    """Sample name and labels to value."""
    text = metrics.text(metrics.families(found))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: dict[Key, float], name: str, /, **labels: str) -> float:
    return found[f"wssupervisor_{name}", frozenset(labels.items())]


def test_a_drain_is_seen_with_its_age_and_what_it_keeps() -> None:
    fleet = draining()
    fleet.census(13, {worker(1, 0): 9, worker(1, 1): 3, worker(2, 0): 4})
    found = parsed(seen(fleet, 20))

    assert value(found, "generations", state="draining") == 1
    assert value(found, "connections", state="draining") == 12
    assert value(found, "connections", state="active") == 4
    assert value(found, "draining_oldest_seconds") == 8
    assert value(found, "workers", state="draining") == 2
    assert value(found, "last_reload_success") == 1
    assert value(found, "last_reload_timestamp_seconds") == 1_000_000 - 8
    assert value(found, "reloads_total", attempt="reload", verdict="succeeded") == 1
    assert value(found, "reload_duration_seconds_bucket", le="2.5") == 1
    assert value(found, "reload_duration_seconds_bucket", le="1.0") == 0
    assert value(found, "reload_duration_seconds_bucket", le="+Inf") == 1
    assert value(found, "start_time_seconds") == 1_000_000 - 20


def test_a_crash_loop_is_seen_with_who_waits_and_how_long() -> None:
    fleet = serving()
    for incarnation in (1, 2):
        fleet.handle(WorkerExited(worker(1, 0, incarnation), Exit(status=1)), 10)
    found = parsed(seen(fleet, 10.1))

    assert value(found, "workers", state="waiting") == 1
    assert value(found, "worker_retry_seconds") == 0.4
    assert value(found, "worker_exits_total", cause="exit-status") == 2
    assert value(found, "workers_wanted") == 2


def test_before_the_first_reload_there_is_no_verdict_to_be_told() -> None:
    names = {family.name for family in metrics.families(seen(serving(), 10))}

    assert "wssupervisor_reloads_total" in names
    assert "wssupervisor_last_reload_success" not in names


def test_what_an_operator_calls_things_cannot_break_a_line() -> None:
    name = 'a "b" \\ c\nd'
    found = parsed(seen(serving(), 10, name))

    assert value(found, "build_info", name=name, version="1.2") == 1


def test_without_a_descriptor_to_look_at_itself_all_else_is_told() -> None:
    whole = seen(draining(), 20)
    found = parsed(replace(whole, own=None)).keys()
    left_out = {name for name, _ in parsed(whole).keys() - found}

    assert left_out == {
        "wssupervisor_supervisor_resident_memory_bytes",
        "wssupervisor_supervisor_cpu_seconds_total",
        "wssupervisor_supervisor_open_fds",
    }


def test_names_and_types_follow_the_conventions() -> None:
    for one in metrics.families(seen(draining(), 20)):
        assert one.name.startswith("wssupervisor_")
        assert one.name.endswith("_total") == (one.kind == "counter")
        assert one.help.endswith(".")
        assert "\n" not in one.help
        for sample in one.samples:
            assert sample.labels.keys() <= {
                "name", "version", "state", "cause", "listener", "address", "mode", "source",
                "attempt", "verdict", "outcome", "le",
            }  # fmt: skip


def test_no_series_comes_or_goes_with_a_deploy() -> None:
    """Whatever reloads and crashes there were: but for the first verdict, the same series."""
    fleet = draining()
    before = parsed(seen(fleet, 20)).keys()
    fleet.handle(WorkerExited(worker(1, 0), Exit(status=1)), 21)
    fleet.handle(WorkerExited(worker(2, 0), Exit(signal="SIGKILL")), 21)
    fleet.begin_reload(30)

    assert parsed(seen(fleet, 31)).keys() == before


def test_the_document_says_the_same() -> None:
    found = seen(draining(), 20)
    expected = {
        (sample["name"], frozenset(sample["labels"].items())): sample["value"]
        for one in metrics.families(found)
        for sample in one.document()["samples"]
    }

    assert expected == parsed(found)


ROOT = Path(__file__).resolve().parents[2]
RULES = "packaging/prometheus/wssupervisor.rules.yml"
GUIDE = "docs/guides/monitoring.md"
REFERENCE = "docs/reference/metrics.md"


@pytest.mark.parametrize("path", [RULES, GUIDE, REFERENCE])
def test_every_metric_that_is_spoken_of_is_there(path: str) -> None:
    there = {name for name, _ in parsed(seen(draining(), 20))}
    there |= {one.name for one in metrics.families(seen(draining(), 20))}
    named = set(re.findall(r"\bwssupervisor_[a-z_]+", (ROOT / path).read_text()))

    assert len(named) > 5
    assert named <= there


def test_the_reference_has_a_row_for_every_metric_with_its_labels() -> None:
    rows = re.findall(
        r"^\| `(wssupervisor_\w+)(?:\{([a-z, ]+)\})?` \|",
        (ROOT / REFERENCE).read_text(),
        re.MULTILINE,
    )
    known = {
        one.name: {label for sample in one.samples for label in sample.labels} - {"le"}
        for one in metrics.families(seen(draining(), 20))
    }

    assert {name: set(re.findall(r"\w+", labels)) for name, labels in rows} == known


def test_label_values_that_rules_and_guide_speak_of_are_there() -> None:
    """Where a value is misspelt, an alert never fires."""
    there = parsed(seen(draining(), 20)).keys()
    for path in (RULES, GUIDE, REFERENCE):
        for name, label, text in re.findall(
            r'(wssupervisor_[a-z_]+)\{(state|mode|le)="([^"]+)"\}', (ROOT / path).read_text()
        ):
            assert any(own == name and (label, text) in labels for own, labels in there), text
