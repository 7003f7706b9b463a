"""The figures of a run, as in the JSON. None: not measured."""

from dataclasses import dataclass

from tests.bench.plan import Plan


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median over pairs of rounds, with its 95% confidence interval."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Connects:
    """Times of new connections until the greeting; medians over rounds."""

    steady_p50_ms: float | None
    steady_p99_ms: float | None
    after_p50_ms: float | None
    """After the command of a reload; bare: after the start of as many additional workers."""
    after_p99_ms: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Side:
    """Figures that are measured in the same way with and without a supervisor."""

    echoes_per_second: float | None
    cpu_us_per_echo: float | None
    """For all processes of that side, including the supervisor."""
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
    """Supervised: the window after the command of a reload, relative to the steady state before."""
    p99_ratio_of_bare: float | None
    """The same for the bare side: as many workers were started, without a reload."""
    p99_ratio_from_cutover: float | None
    """Supervised, only connections that began after the cutover."""
    reload_ms: float | None
    own_share_ms: float | None
    """The supervisor's share: without `stable` and the start of the slowest worker."""
    misrouted: int
    idle: Watched
    drain: Watched
    status_ms: float


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A size that does not fit on this machine."""

    held: int
    reason: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Connections of the busiest worker relative to the mean; medians over rounds."""

    connections: int
    workers: int
    supervised: float
    bare: float


@dataclass(frozen=True, slots=True)
class Start:
    """From the launch of the daemon until it serves."""

    start_ms: float
    own_share_ms: float
    """Without `stable` and the start of the slowest worker."""


@dataclass(frozen=True, slots=True)
class Scraping:
    """The supervisor's CPU in % of a core, with one scrape a second and without."""

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
    """Waiting times of new clients of a server that stalls at times, on one side."""

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
    """Processes of the server at the end of the load."""
    most_processes: int


@dataclass(frozen=True, slots=True)
class Besieged:
    """A server with slow-loris clients, on one side. Memory (PSS) is of all its processes."""

    server: str
    side: str
    slow_held: int
    """The maximum number of slow clients at the same time."""
    slow_opened: int
    asked: int
    """Requests of ordinary clients, one a second."""
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
    """One worker that writes this much, with a reload meanwhile."""

    megabytes: float
    seconds: float
    stalled_seconds: float
    """How long the log was not read."""
    lines: int
    told: int
    skipped: float
    """Lines that the log reports as missing, computed from their bytes."""
    dropped: int
    """Lines of any kind that were dropped from the queue of the log."""
    unaccounted: float
    out_of_order: int
    lag_p99_ms: float
    """The upper bound of its bucket in the histogram."""
    lag_samples: int
    reload_ms: float
    broken: int


@dataclass(frozen=True, slots=True)
class RivalFigures:
    """One way to reload a server; the application and the clients are the same for all."""

    name: str
    version: str
    reload_command: str
    note: str
    missing: str | None
    """Why it could not be measured, or what failed."""
    held: int = 0
    reloads: int = 0
    broken: int | None = None
    """Held WebSockets that the reloads closed."""
    failed: int | None = None
    """New connections that were refused, reset, closed or not answered in time."""
    misrouted: int | None = None
    """Connections to old code after others reached new code, or after a promised cutover."""
    attempts: int | None = None
    """New connections in the windows after reloads."""
    p99_ms: float | None = None
    cutover_seconds: float | None = None
    """Time from the command until every new connection reaches the new code."""
    idle_pss_mb: float | None = None
    reload_pss_mb: float | None = None
    """In the seconds after the command of a reload."""
    cpu_us_per_echo: float | None = None
    cpu_ratio: Ratio | None = None
    """Relative to the same application run bare."""
    echoes_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A target, and whether it was met. `met` is None if nothing was measured."""

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
