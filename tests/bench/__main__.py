"""`./dev bench`: which parts are measured, in which order, and where the report goes."""

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
             after reloads, the time of a reload, the supervisor's memory and CPU, wssctl status
  balance    the spread of connections over workers
  start      the time from the launch of the daemon until it serves
  scrape     the supervisor's CPU for one scrape of its metrics a second
  stall      a server that stalls at times, bare and supervised: how long new clients wait, and
             the number of processes
  slowloris  clients that never finish their request, bare and supervised: processes and memory of
             the server over five minutes, and whether other clients are answered
  verdicts   bad releases of several servers, with each way to judge them: the exit status of the
             reload
  output     a worker that writes 200 MB in a minute, with a reload in between: the delay of the
             event loop, and missing lines; again with the log unread for half of the time
rivals (one application, each reloaded by its own mechanism):
  {rivals}

examples:
  ./dev bench                            run everything, about 30 minutes
  ./dev bench --quick                    run everything in small sizes, about two minutes (noisy)
  ./dev bench --only overhead --held 2000
  ./dev bench --only gunicorn --only haproxy --json bench.json

Run it on an otherwise idle machine. All clients and servers use loopback addresses. 15,000 held
connections need a limit of open files (ulimit -Hn) of about 10,000. Only figures of the same run
are comparable.
"""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="./dev bench",
        description="Measure what wssupervisor and its reloads cost, compared with other programs.",
        epilog=EXAMPLES.format(rivals=", ".join(RIVALS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = found.add_argument
    add("--quick", action="store_true", help="use small sizes and few rounds")
    add("--smallest", action="store_true", help="run only as much as tests the benchmark itself")
    add(
        "--only",
        metavar="NAME",
        nargs="+",
        action="extend",
        choices=[*PARTS, *RIVALS],
        help="measure only these parts or rivals (default: all)",
    )
    add(
        "--held",
        metavar="N",
        type=int,
        nargs="+",
        help="numbers of held WebSockets (default: those of the plan)",
    )
    add("--json", metavar="FILE", type=Path, help="write all figures to this file")
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
        say(f"wrote {given.json}")
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
