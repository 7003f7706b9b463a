"""./dev fuzz: what others write, spoilt in all ways, for each reader of it."""

import argparse
import logging
import sys
from random import SystemRandom

import structlog

from tests.fuzz.run import Report, run
from tests.fuzz.stage import Stage
from tests.fuzz.targets import TARGETS

SECONDS = 300.0
DESCRIPTION = """\
Gives each reader inputs that its author did not think of: half right, torn, forged, without end.
A failure of any reader: an exception that is not its documented error, more than some seconds of
processor time or 64 MB of memory for one input, a hang. Beside those each target has its own:

"""


def main() -> int:
    given = _parser().parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)  # that a file is odd is meant
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


def _parser() -> argparse.ArgumentParser:
    with Stage() as stage:  # it starts nothing before it is used
        promises = "\n".join(f"  {name:12} {make(stage).fails}" for name, make in TARGETS.items())
    parser = argparse.ArgumentParser(
        prog="./dev fuzz",
        description=DESCRIPTION + promises,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "seconds", nargs="?", type=float, default=SECONDS, help="in all (default: 300)"
    )
    parser.add_argument("--seed", type=int, help="repeats the same inputs (default: a new one)")
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=TARGETS,
        help=f"one target; may be given several times: {', '.join(TARGETS)}",
    )
    parser.add_argument("--input", metavar="N", type=int, help="that input alone, of each target")
    return parser


if __name__ == "__main__":
    sys.exit(main())
