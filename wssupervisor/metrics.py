"""The metrics, made from known values, in Prometheus' text format 0.0.4. Pure.

Label values are only from fixed sets or the configuration: a generation's number, a pid or a
release would make a new series at each deploy.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from wssupervisor.fleet.counters import (
    ATTEMPTS,
    CAUSES,
    DRAIN_BOUNDS,
    LAG_BOUNDS,
    RELOAD_BOUNDS,
    START_BOUNDS,
    VERDICTS,
    Counters,
    Histogram,
)
from wssupervisor.fleet.model import GenerationState, InstanceState, WorkerState
from wssupervisor.fleet.notes import NoteKind
from wssupervisor.fleet.view import FleetView

PREFIX = "wssupervisor_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """`name` is the name of the family; for a histogram, with a suffix."""

    name: str
    labels: Labels
    value: float


class SampleDocument(TypedDict):
    name: str
    labels: dict[str, str]
    value: float


class FamilyDocument(TypedDict):
    """An entry of `wssctl metrics --json`."""

    name: str
    type: str
    help: str
    samples: list[SampleDocument]


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]

    def document(self) -> FamilyDocument:
        samples: list[SampleDocument] = [
            {"name": one.name, "labels": dict(one.labels), "value": one.value}
            for one in self.samples
        ]
        return {"name": self.name, "type": self.kind, "help": self.help, "samples": samples}


@dataclass(frozen=True, slots=True)
class Listener:
    """The constant properties of a listener, shown as labels."""

    address: str
    mode: str
    source: str


@dataclass(frozen=True, slots=True)
class Own:
    """Figures of the supervisor's own process."""

    resident_bytes: int
    cpu_seconds: float
    open_files: int


@dataclass(frozen=True, slots=True)
class Seen:
    """All values for the metrics. `now`: by the view's clock. `wall`: the same in Unix time."""

    name: str
    version: str
    view: FleetView
    ready: bool
    listeners: Mapping[str, Listener]
    counters: Counters
    lag: Histogram
    own: Own | None
    now: float
    wall: float

    def unix(self, at: float) -> float:
        return round(self.wall - (self.now - at), 3)


def text(families: Iterable[Family]) -> str:
    """The exposition: each family with its HELP, its TYPE and its samples."""
    lines = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += [
            f"{one.name}{_labelled(one.labels)} {_value(one.value)}" for one in family.samples
        ]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _labelled(labels: Labels) -> str:
    if not labels:
        return ""
    quoted = ((name, _escaped(value).replace('"', '\\"')) for name, value in labels.items())
    return "{" + ",".join(f'{name}="{value}"' for name, value in quoted) + "}"


def _value(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def families(seen: Seen) -> list[Family]:
    """Return all families, in their order of output."""
    return [
        *_of_instance(seen),
        *_of_generations(seen),
        *_of_workers(seen),
        *_of_listeners(seen),
        *_of_reloads(seen),
        *_of_drains(seen),
        *_of_supervisor(seen),
        *_of_notes(seen.counters),
    ]


def _gauge(name: str, about: str, value: float) -> Family:
    return _by(name, about, "gauge", [({}, value)])


def _counter(name: str, about: str, value: float) -> Family:
    return _by(name, about, "counter", [({}, value)])


def _by(name: str, about: str, kind: str, values: Iterable[tuple[Labels, float]]) -> Family:
    full = PREFIX + name
    return Family(full, kind, about, tuple(Sample(full, *one) for one in values))


def _histogram(name: str, about: str, bounds: Sequence[float], found: Histogram) -> Family:
    full = PREFIX + name
    if len(found.counts) != len(bounds) + 1:  # no values yet, or other bounds
        found = Histogram([0] * (len(bounds) + 1))
    so_far, samples = 0, []
    for bound, count in zip((*bounds, math.inf), found.counts, strict=True):
        so_far += count
        samples.append(Sample(f"{full}_bucket", {"le": _value(bound)}, so_far))
    samples.append(Sample(f"{full}_sum", {}, round(found.total, 6)))
    samples.append(Sample(f"{full}_count", {}, so_far))
    return Family(full, "histogram", about, tuple(samples))


def _of_instance(seen: Seen) -> Iterator[Family]:
    about = "Name of the instance and version of its supervisor; always 1."
    labels = {"name": seen.name, "version": seen.version}
    yield _by("build_info", about, "gauge", [(labels, 1)])
    yield _gauge(
        "ready", "Whether a new connection is served, as /readyz reports.", int(seen.ready)
    )
    about = "Whether the instance is out of its load balancer (wssctl leave)."
    yield _gauge("out_of_rotation", about, int(seen.view.out_of_rotation is not None))
    states = [({"state": one.value}, int(seen.view.state is one)) for one in InstanceState]
    yield _by("state", "1 for the current state of the instance.", "gauge", states)
    about = "Start of the instance, in Unix time. Upgrades and crashes of its supervisor do not"
    yield _gauge("start_time_seconds", f"{about} change it.", seen.unix(seen.view.started_at))


def _of_generations(seen: Seen) -> Iterator[Family]:
    shown = [one for one in GenerationState if one is not GenerationState.RETIRED]
    there = seen.view.generations
    yield _by(
        "generations",
        "Generations by state.",
        "gauge",
        [({"state": one.value}, sum(g.state is one for g in there)) for one in shown],
    )
    yield _by(
        "connections",
        "Open connections by the state of their generation.",
        "gauge",
        [
            ({"state": one.value}, sum(g.connections for g in there if g.state is one))
            for one in shown
        ],
    )
    drains = [one.drain for one in there if one.drain is not None]
    ages = [seen.now - one.since for one in drains]
    about = "Duration of the longest drain under way, in seconds; 0 without a drain."
    yield _gauge("draining_oldest_seconds", about, round(max(ages, default=0.0), 3))
    about = "Generations whose drain is paused. They do not end until they are resumed."
    yield _gauge("draining_paused", about, sum(one.paused for one in drains))


def _of_workers(seen: Seen) -> Iterator[Family]:
    counters = seen.counters
    there = [worker for one in seen.view.generations for worker in one.workers]
    shown = [one for one in WorkerState if one is not WorkerState.EXITED]
    wanted = "Workers that the active generation should have."
    yield _gauge("workers_wanted", wanted, seen.view.workers_wanted)
    yield _by(
        "workers",
        "Workers of all generations by state, including those that wait for a restart.",
        "gauge",
        [({"state": one.value}, sum(w.state is one for w in there)) for one in shown],
    )
    waits = [max(0.0, w.retry_at - seen.now) for w in there if w.retry_at is not None]
    about = "Time until the last of the waiting workers is restarted, in seconds."
    yield _gauge("worker_retry_seconds", about, round(max(waits, default=0.0), 3))
    yield _by(
        "worker_exits_total",
        "Workers that ended, by cause.",
        "counter",
        [({"cause": one}, counters.exits.get(one, 0)) for one in CAUSES],
    )
    about = "Time from the start of a worker until it was ready, in seconds."
    yield _histogram("worker_start_seconds", about, START_BOUNDS, counters.start_seconds)


def _of_listeners(seen: Seen) -> Iterator[Family]:
    there = seen.view.listeners
    yield _by(
        "listener_info",
        "Address, mode and source of the sockets of each listener; always 1.",
        "gauge",
        [
            (
                {"listener": name, "address": one.address, "mode": one.mode, "source": one.source},
                1,
            )
            for name, one in seen.listeners.items()
        ],
    )

    def each(name: str, about: str, values: Iterable[float]) -> Family:
        labels: list[Labels] = [{"listener": one.name} for one in there]
        return _by(name, about, "gauge", zip(labels, values, strict=True))

    about = "Connections that wait to be accepted, by listener."
    yield each("listener_queued_connections", about, [one.queued for one in there])
    yield each("listener_slots", "Listening sockets, by listener.", [len(o.slots) for o in there])
    about = "Listening sockets that are free for a new generation, by listener."
    yield each("listener_free_slots", about, [one.free for one in there])


def _of_reloads(seen: Seen) -> Iterator[Family]:
    counters, last = seen.counters, seen.view.verdict
    yield _by(
        "reloads_total",
        "Reloads and rollbacks, by verdict. refused: another attempt, or a stop, was under way.",
        "counter",
        [
            (
                {"attempt": attempt, "verdict": verdict},
                counters.reloads.get(f"{attempt} {verdict}", 0),
            )
            for attempt in ATTEMPTS
            for verdict in VERDICTS
        ],
    )
    about = "Duration of a reload or rollback until its verdict, in seconds."
    yield _histogram("reload_duration_seconds", about, RELOAD_BOUNDS, counters.reload_seconds)
    running = int(seen.view.state is InstanceState.RELOADING)
    yield _gauge("reload_running", "Whether a reload or rollback is under way.", running)
    if last is not None:
        about = "Whether the last reload or rollback succeeded. Missing before the first."
        yield _gauge("last_reload_success", about, int(last.ok))
        ended = seen.unix(last.began_at + last.seconds)
        about = "End of the last reload or rollback, in Unix time."
        yield _gauge("last_reload_timestamp_seconds", about, ended)


def _of_drains(seen: Seen) -> Iterator[Family]:
    counters = seen.counters
    yield _by(
        "drains_ended_total",
        "Drains that ended, by outcome: the generation retired, or a rollback returned to it.",
        "counter",
        [
            ({"outcome": "retired"}, counters.drains_over),
            ({"outcome": "rolled-back-to"}, counters.drains_undone),
        ],
    )
    about = "Duration of a drain until its generation retired, in seconds."
    yield _histogram("drain_duration_seconds", about, DRAIN_BOUNDS, counters.drain_seconds)
    about = (
        "Connections of old generations that their client or server closed, counted when the drain"
        " ends."
    )
    yield _counter("connections_drained_total", about, counters.drained)
    about = "Connections closed because a limit or an operator ended their worker."
    yield _counter("connections_forced_total", about, counters.forced)
    about = "Connections lost because their worker ended unexpectedly."
    yield _counter("connections_lost_total", about, counters.lost)


def _of_supervisor(seen: Seen) -> Iterator[Family]:
    own = seen.own
    about = "Scheduling delay of the supervisor's event loop, in seconds."
    yield _histogram("loop_lag_seconds", about, LAG_BOUNDS, seen.lag)
    if own is None:
        return
    about = "Resident memory of the supervisor, without its workers, in bytes."
    yield _gauge("supervisor_resident_memory_bytes", about, own.resident_bytes)
    about = "CPU time of the supervisor, without its workers, in seconds."
    yield _counter("supervisor_cpu_seconds_total", about, round(own.cpu_seconds, 3))
    yield _gauge("supervisor_open_fds", "Open descriptors of the supervisor.", own.open_files)


def _of_notes(counters: Counters) -> Iterator[Family]:
    for kind in NoteKind:
        if kind.metric is not None:
            yield _counter(kind.metric.name, kind.metric.help, counters.of(kind))
