"""./dev fuzz: malformed inputs for each reader of foreign data."""

import argparse
import logging
import sys
import textwrap
from random import SystemRandom

import structlog

from tests.fuzz.run import Report, run
from tests.fuzz.stage import Stage
from tests.fuzz.targets import TARGETS

SECONDS = 300.0
DESCRIPTION = """\
Feeds each reader of foreign data with malformed inputs: partly right, truncated, forged, endless.
For every target these are failures: an exception other than its documented error, more than some
seconds of CPU time or 64 MB of memory for one input, and a hang. Each target has its own failures
besides:

"""


def main() -> int:
    given = _parser().parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)  # odd files are intended here
    structlog.configure(wrapper_class=quiet)
    seed = SystemRandom().randrange(10**6) if given.seed is None else given.seed
    names = given.only or list(TARGETS)
    print(f"fuzz: {given.seconds:g} seconds, --seed {seed}", flush=True)
    reports: list[Report] = []
    with Stage() as stage:
        for name in names:
            with TARGETS[name](stage) as target:
                reports.append(run(target, seed, given.seconds / len(names), only=given.input))
            print(reports[-1], flush=True)
    failures = sum(len(one.failures) for one in reports)
    inputs = sum(one.inputs for one in reports)
    print(f"fuzz: {inputs} inputs, {failures} failures")
    return 1 if failures else 0


def _wrapped(name: str, fails: str) -> str:
    return textwrap.fill(f"  {name:12} {fails}", width=100, subsequent_indent=" " * 15)


def _parser() -> argparse.ArgumentParser:
    with Stage() as stage:  # starts nothing before its first use
        promises = "\n".join(_wrapped(name, make(stage).fails) for name, make in TARGETS.items())
    parser = argparse.ArgumentParser(
        prog="./dev fuzz",
        description=DESCRIPTION + promises,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "seconds",
        nargs="?",
        type=float,
        default=SECONDS,
        help="duration of the whole run (default: 300)",
    )
    parser.add_argument(
        "--seed", type=int, help="repeat the inputs of this seed (default: a random seed)"
    )
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=TARGETS,
        help=f"fuzz only this target; may be repeated: {', '.join(TARGETS)}",
    )
    parser.add_argument("--input", metavar="N", type=int, help="run only input N of each target")
    return parser


if __name__ == "__main__":
    sys.exit(main())
