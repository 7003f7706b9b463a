"""`./dev bench`: which parts to measure, in which order, and where the report goes."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import overhead, small, verdicts
from tests.bench.figures import Report
from tests.bench.files import raise_limit
from tests.bench.output import measure_output
from tests.bench.plan import FULL, QUICK, SMALLEST, Plan
from tests.bench.progress import elapsed, say
from tests.bench.rivals import RIVALS, kinds, needs
from tests.bench.rivals.contest import contest
from tests.bench.scraped import measure_scraping
from tests.bench.slowloris import measure as slowloris
from tests.bench.stalls import measure as stalls
from tests.bench.table import render
from tests.bench.targets import checks
from wssupervisor import __version__

OVERHEAD, BALANCE, START, SCRAPE, STALL = "overhead", "balance", "start", "scrape", "stall"
OUTPUT, SLOWLORIS, VERDICTS = "output", "slowloris", "verdicts"
PARTS = (OVERHEAD, BALANCE, START, SCRAPE, STALL, SLOWLORIS, VERDICTS, OUTPUT)

EXAMPLES = """\
parts:
  overhead   the same worker bare and under wssupervisor, side by side, at each number of held
             WebSockets: echoes per second, CPU per echo, new connections in steady state and
             after reloads, what a reload takes, the supervisor's memory and CPU, wssctl status
  balance    how evenly connections spread over workers
  start      how long the daemon takes to serve
  scrape     what it costs the supervisor that its metrics are read once a second
  stall      how long new clients of a server wait that stands still at times, bare and supervised,
             and how many processes there are
  slowloris  clients that never finish their request: processes and memory of the server over five
             minutes, bare and supervised, and whether other clients are answered
  verdicts   bad releases of several servers, judged in each way: the exit status of each reload
  output     a worker that writes 200 MB in a minute, with a reload in between: how late the loop
             gets, and which lines are missing; again with the log unread for half of the time
and, one application with the reload that each has itself:
  {rivals}

examples:
  ./dev bench                            everything, about 30 minutes
  ./dev bench --quick                    everything, small; about two minutes; noisy
  ./dev bench --only overhead --held 2000
  ./dev bench --only gunicorn --only haproxy --json bench.json

Run it on a machine that has nothing else to do. All clients and servers are on loopback
addresses; 15,000 held connections need a limit of open files (ulimit -Hn) of about 10,000.
What takes turns is compared; figures of different runs or machines are not comparable.
"""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="./dev bench",
        description="Measure what wssupervisor costs, and what reloads do, here and elsewhere.",
        epilog=EXAMPLES.format(rivals=", ".join(RIVALS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--quick", action="store_true", help="small sizes and few rounds")
    add("--smallest", action="store_true", help="only to see that the benchmark itself works")
    add(
        "--only",
        metavar="NAME",
        nargs="+",
        action="extend",
        choices=[*PARTS, *RIVALS],
        help="measure these parts or programs only",
    )
    add("--held", metavar="N", type=int, nargs="+", help="held WebSockets, in place of the plan's")
    add("--json", metavar="FILE", type=Path, help="write all figures there")
    add("--needs", action="store_true", help=argparse.SUPPRESS)  # for ./dev: what to install
    return found


def plan_of(given: argparse.Namespace) -> Plan:
    plan = QUICK if given.quick else FULL
    return SMALLEST if given.smallest else plan


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    chosen = given.only or [*PARTS, *RIVALS]
    rivals = [name for name in RIVALS if name in chosen]
    if given.needs:
        lacking = [
            *needs(rivals),
            *(stalls.needs() if STALL in chosen else []),
            *(slowloris.needs() if SLOWLORIS in chosen else []),
            *(verdicts.needs() if VERDICTS in chosen else []),
        ]
        print("\n".join(dict.fromkeys(lacking)))
        return 0
    raise_limit()
    report = run(plan_of(given), chosen, rivals, given.held)
    print(render(report))
    if given.json is not None:
        given.json.write_text(json.dumps(asdict(report), indent=1) + "\n")
        say(f"written to {given.json}")
    return 0


def run(plan: Plan, chosen: Sequence[str], rivals: Sequence[str], held: list[int] | None) -> Report:
    with tempfile.TemporaryDirectory(prefix="wss-bench-") as name:
        directory = Path(name)
        sizes = [
            overhead.measure(plan, directory, size)
            for size in (held or plan.held)
            if OVERHEAD in chosen
        ]
        balance = small.measure_balance(plan, directory) if BALANCE in chosen else None
        start = small.measure_start(plan, directory) if START in chosen else None
        scraped = plan.scraped_held if held is None else max(held)
        scraping = measure_scraping(plan, directory, scraped) if SCRAPE in chosen else None
        stalled = stalls.measure(plan, directory) if STALL in chosen else []
        besieged = slowloris.measure(plan, directory) if SLOWLORIS in chosen else []
        judged = verdicts.measure(plan, directory) if VERDICTS in chosen else []
        output = measure_output(plan, directory) if OUTPUT in chosen else ()
        found = contest(plan, directory, kinds(rivals)) if rivals else []
    return Report(
        plan=plan,
        version=__version__,
        machine=f"{os.cpu_count()} cores, Linux {platform.release()}, Python {_python()}",
        date=datetime.now(UTC).date().isoformat(),
        seconds=elapsed(),
        sizes=tuple(sizes),
        balance=balance,
        start=start,
        scraping=scraping,
        stalled=tuple(stalled),
        besieged=tuple(besieged),
        verdicts=tuple(judged),
        output=output,
        rivals=tuple(found),
        checks=tuple(checks(sizes, balance, scraping, output)),
    )


def _python() -> str:
    return platform.python_version()


if __name__ == "__main__":
    sys.exit(main())
