"""Sizes, rounds and seconds of a full, a quick and the smallest run."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    held: tuple[int, ...]
    """Numbers of held WebSockets for which everything is measured."""
    echo_openings: int
    echo_pairs: int
    """Pairs of rounds of echoes, bare and supervised, for each opening of connections."""
    echo_seconds: float
    connect_pairs: int
    """Pairs of rounds of new connections, each with one reload."""
    steady_seconds: float
    window_seconds: float
    """Seconds after the command of a reload that count as "after a reload"."""
    rate: float
    """New connections per second."""
    watch_seconds: float
    """Seconds for the supervisor's own CPU, idle and while a generation drains."""
    status_calls: int
    balance_rounds: int
    balance_count: int
    starts: int
    scraped_held: int
    scrape_windows: int
    """Pairs of turns, with and without scrapes."""
    scrape_seconds: float
    stall_seconds: float
    stall_pace: float
    """Factor for the pauses of servers and the intervals of clients."""
    slow_clients: int
    """Slow clients of each server: at most this many, one more at each interval, for this time."""
    slow_every: float
    slow_seconds: float
    verdicts: tuple[str, ...] | None
    """Kinds of bad releases; None: all."""
    output_mb: float
    """Megabytes that one worker writes, and the seconds in which it does."""
    output_seconds: float
    rival_held: int
    rival_reloads: int
    rival_echoes: int


FULL = Plan(
    name="full",
    held=(200, 2_000, 8_000, 15_000),
    echo_openings=3,
    echo_pairs=15,
    echo_seconds=0.25,
    connect_pairs=3,
    steady_seconds=3.0,
    window_seconds=6.0,
    rate=150.0,
    watch_seconds=15.0,
    status_calls=9,
    balance_rounds=3,
    balance_count=1_000,
    starts=3,
    scraped_held=8_000,
    scrape_windows=4,
    scrape_seconds=4.0,
    stall_seconds=110.0,
    stall_pace=1.0,
    slow_clients=400,
    slow_every=0.4,
    slow_seconds=300.0,
    verdicts=None,
    output_mb=200.0,
    output_seconds=60.0,
    rival_held=1_000,
    rival_reloads=3,
    rival_echoes=5,
)
QUICK = Plan(
    name="quick",
    held=(200,),
    echo_openings=2,
    echo_pairs=8,
    echo_seconds=0.2,
    connect_pairs=1,
    steady_seconds=2.0,
    window_seconds=3.0,
    rate=150.0,
    watch_seconds=3.0,
    status_calls=3,
    balance_rounds=1,
    balance_count=1_000,
    starts=1,
    scraped_held=200,
    scrape_windows=2,
    scrape_seconds=2.0,
    stall_seconds=30.0,
    stall_pace=1.0,
    slow_clients=100,
    slow_every=0.3,
    slow_seconds=40.0,
    verdicts=("good", "dies", "500"),
    output_mb=40.0,
    output_seconds=12.0,
    rival_held=100,
    rival_reloads=1,
    rival_echoes=1,
)
SMALLEST = Plan(
    name="smallest",
    held=(10,),
    echo_openings=1,
    echo_pairs=2,
    echo_seconds=0.1,
    connect_pairs=1,
    steady_seconds=0.3,
    window_seconds=0.5,
    rate=50.0,
    watch_seconds=0.3,
    status_calls=1,
    balance_rounds=1,
    balance_count=40,
    starts=1,
    scraped_held=10,
    scrape_windows=1,
    scrape_seconds=0.5,
    stall_seconds=3.0,
    stall_pace=0.1,
    slow_clients=3,
    slow_every=0.2,
    slow_seconds=3.0,
    verdicts=("500",),
    output_mb=3.0,
    output_seconds=1.0,
    rival_held=10,
    rival_reloads=1,
    rival_echoes=1,
)
