"""The costs that wssupervisor promises not to exceed, compared with the measured ones."""

from collections.abc import Callable, Sequence

from tests.bench.figures import Balance, Check, LeftOut, Output, Scraping, SizeFigures
from tests.bench.output import HELD

THROUGHPUT = 0.98
CPU = 1.02
P99 = 1.2
OWN_SHARE_MS = 50.0
PSS_MB = 28.0
IDLE_CPU_PERCENT = 0.2
DRAIN_CPU_PERCENT = 3.0
BALANCE = 1.15
STATUS_MS = 100.0
SCRAPE_CPU_PERCENT = 0.5
LAG_MS = 50.0


def checks(
    sizes: Sequence[SizeFigures | LeftOut],
    balance: Balance | None,
    scraping: Scraping | LeftOut | None,
    output: Sequence[Output],
) -> list[Check]:
    """Every size must meet a target: each target is judged by the worst size."""
    measured = [one for one in sizes if isinstance(one, SizeFigures)]

    def most(target: str, limit: float, pick: Callable[[SizeFigures], float | None]) -> Check:
        found = [(value, one.held) for one in measured if (value := pick(one)) is not None]
        return _judged(target, limit, max(found, default=None))

    lowest = [(-one.throughput_ratio.median, one.held) for one in measured if one.throughput_ratio]
    spread = None if balance is None else (balance.supervised, balance.connections)
    scraped = (scraping.cost_percent, scraping.held) if isinstance(scraping, Scraping) else None
    late = max(((one.lag_p99_ms, HELD) for one in output), default=None)
    lost = max(((one.out_of_order + abs(one.unaccounted), HELD) for one in output), default=None)
    return [
        _at_least("echo throughput to bare, at least", THROUGHPUT, max(lowest, default=None)),
        most("CPU per message to bare, at most", CPU, _cpu_ratio),
        most("connect p99 from a reload's command on to steady", P99, lambda one: one.p99_ratio),
        most("connect p99 from its cutover on to steady", P99, _p99_from_cutover),
        most("own share of reload to cutover, ms", OWN_SHARE_MS, lambda one: one.own_share_ms),
        most("supervisor's PSS idle, MB", PSS_MB, lambda one: one.idle.pss_mb),
        most("supervisor's CPU idle, % of a core", IDLE_CPU_PERCENT, _idle_cpu),
        most("supervisor's CPU draining, % of a core", DRAIN_CPU_PERCENT, _drain_cpu),
        _judged("busiest worker over mean, at most", BALANCE, spread),
        most("wssctl status, ms", STATUS_MS, lambda one: one.status_ms),
        _judged("a scrape a second, % of a core", SCRAPE_CPU_PERCENT, scraped),
        _judged("loop lag p99 under a flood of output, ms", LAG_MS, late),
        _judged("lines of it out of order or unaccounted", 0, lost),
    ]


def _p99_from_cutover(one: SizeFigures) -> float | None:
    return one.p99_ratio_from_cutover


def _cpu_ratio(one: SizeFigures) -> float | None:
    return None if one.cpu_ratio is None else one.cpu_ratio.median


def _idle_cpu(one: SizeFigures) -> float:
    return one.idle.cpu_percent


def _drain_cpu(one: SizeFigures) -> float:
    return one.drain.cpu_percent


def _judged(target: str, limit: float, worst: tuple[float, int] | None) -> Check:
    if worst is None:
        return Check(target, limit, None, None, "")
    found, held = worst
    return Check(target, limit, found, found <= limit, f"{held:,} held")


def _at_least(target: str, limit: float, lowest: tuple[float, int] | None) -> Check:
    if lowest is None:
        return Check(target, limit, None, None, "")
    found, held = -lowest[0], lowest[1]
    return Check(target, limit, found, found >= limit, f"{held:,} held")
