"""What a run finds out, as it goes into the JSON. None is what could not be measured."""

from dataclasses import dataclass

from tests.bench.plan import Plan


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median over pairs of rounds; it lies between low and high 19 times of 20."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Connects:
    """New connections until the greeting; each the median over rounds."""

    steady_p50_ms: float | None
    steady_p99_ms: float | None
    after_p50_ms: float | None
    """After the command of a reload; bare: after as many workers were started beside."""
    after_p99_ms: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Side:
    """What was measured the same way with and without a supervisor."""

    echoes_per_second: float | None
    cpu_us_per_echo: float | None
    """Of all processes of that side, the supervisor included."""
    connects: Connects
    broken: int


@dataclass(frozen=True, slots=True)
class Watched:
    """The supervisor's own process over some seconds."""

    pss_mb: float
    cpu_percent: float
    """Of one core."""


@dataclass(frozen=True, slots=True)
class SizeFigures:
    """Bare and supervised at one number of held WebSockets; ratios are medians over pairs."""

    held: int
    bare: Side
    supervised: Side
    throughput_ratio: Ratio | None
    cpu_ratio: Ratio | None
    p99_ratio: float | None
    """Supervised: in the window after the command of a reload, to steady just before."""
    p99_ratio_of_bare: float | None
    """The same of the bare side, where as many workers were started and nothing was reloaded."""
    p99_ratio_from_cutover: float | None
    """Supervised, but only what began after cutover, when the new workers had started."""
    reload_ms: float | None
    own_share_ms: float | None
    """Of it the supervisor's: without `stable` and the slower worker's own start-to-ready."""
    misrouted: int
    idle: Watched
    drain: Watched
    status_ms: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A size that this machine does not allow."""

    held: int
    reason: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Busiest worker over the mean, of connections that stay; medians over rounds."""

    connections: int
    workers: int
    supervised: float
    bare: float


@dataclass(frozen=True, slots=True)
class Start:
    """From the launch of the daemon until it serves."""

    start_ms: float
    own_share_ms: float
    """Without `stable` and the slower worker's own start-to-ready."""


@dataclass(frozen=True, slots=True)
class Scraping:
    """The supervisor's CPU, in % of a core, with one scrape of its metrics a second and without."""

    held: int
    without_percent: float
    scraped_percent: float
    cost_percent: float
    """The median of the differences between neighbouring turns."""
    scrape_ms: float
    """The time of a scrape, as its client measures it."""
    broken: int


@dataclass(frozen=True, slots=True)
class Stalled:
    """What new clients of a server wait that stands still at times, on one side."""

    scenario: str
    side: str
    clients: int
    failed: int
    mean_seconds: float | None
    p50_seconds: float | None
    p90_seconds: float | None
    p99_seconds: float | None
    worst_seconds: float | None
    processes: int
    """Of the server, at the end of the load."""
    most_processes: int


@dataclass(frozen=True, slots=True)
class Besieged:
    """A server with slow-loris clients on one side; memory is that of all its processes (PSS)."""

    server: str
    side: str
    slow_held: int
    """Slow clients at the same time, at most."""
    slow_opened: int
    asked: int
    """By ordinary clients, one a second."""
    answered: int
    p50_seconds: float | None
    mean_seconds: float | None
    processes_before: int
    most_processes: int
    processes: int
    """At the end of the load."""
    memory_before_mb: float
    most_memory_mb: float
    memory_mb: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a reload to one kind of bad release ended; `expected`: how it should."""

    server: str
    by: str
    kind: str
    status: int
    expected: int
    reason: str


@dataclass(frozen=True, slots=True)
class Output:
    """One worker that writes this much, with a reload in between."""

    megabytes: float
    seconds: float
    stalled_seconds: float
    """How long the log was not read."""
    lines: int
    told: int
    skipped: float
    """Lines that the log says are missing, from their bytes."""
    dropped: int
    """Lines of any kind that found no room in the log's own queue."""
    unaccounted: float
    out_of_order: int
    lag_p99_ms: float
    """The upper bound of the histogram's bucket that it is in."""
    lag_samples: int
    reload_ms: float
    broken: int


@dataclass(frozen=True, slots=True)
class RivalFigures:
    """One way to reload a server, with the same application and the same clients."""

    name: str
    version: str
    reload_command: str
    note: str
    missing: str | None
    """Why it could not be measured, or what went wrong."""
    held: int = 0
    reloads: int = 0
    broken: int | None = None
    """Held WebSockets that the reload ended, over all reloads."""
    failed: int | None = None
    """New connections that were refused, reset, closed or not answered in time."""
    misrouted: int | None = None
    """They reached the old code after others reached the new, or after a promised cutover."""
    attempts: int | None = None
    """New connections in the windows after reloads."""
    p99_ms: float | None = None
    cutover_seconds: float | None = None
    """From the command until every new connection reaches the new code."""
    idle_pss_mb: float | None = None
    reload_pss_mb: float | None = None
    """Some seconds after the command of a reload."""
    cpu_us_per_echo: float | None = None
    cpu_ratio: Ratio | None = None
    """To the same application run bare."""
    echoes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A target and whether it was met; `met` is None when nothing was measured."""

    target: str
    limit: float
    found: float | None
    met: bool | None
    where: str


@dataclass(frozen=True, slots=True)
class Report:
    plan: Plan
    version: str
    machine: str
    date: str
    seconds: float
    sizes: tuple[SizeFigures | LeftOut, ...]
    balance: Balance | None
    start: Start | None
    scraping: Scraping | LeftOut | None
    stalled: tuple[Stalled, ...]
    besieged: tuple[Besieged, ...]
    verdicts: tuple[Verdict, ...]
    output: tuple[Output, ...]
    rivals: tuple[RivalFigures, ...]
    checks: tuple[Check, ...]
