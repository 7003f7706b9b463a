"""./dev mutate: changes one condition of `fleet/` at a time; lists what no test notices."""

import argparse
import sys
from collections import Counter
from random import Random, SystemRandom

from tests.mutate import explained
from tests.mutate.changes import Change, changes
from tests.mutate.run import FLEET, Outcome, TestsFail, Verdict, copied_tree, try_all
from tests.mutate.trial import Plan

CHANGES = 100
WALKS = 40
JOBS_MAX = 2
SURVIVORS_OF_100 = 3
DESCRIPTION = """\
Each change is made in memory and judged by the unit tests of its module, then by those of the
other modules of fleet/, then by random walks. It is noticed if a test fails, or if the tests take
three times their usual processor time. Changed are comparisons, `and` and `or`, `not`, bare
conditions, min and max, any and all, numbers, True and False. Early returns and yields are dropped.

A change that survives needs a test. If it changes nothing that matters, it needs an entry with the
reason in tests/mutate/explained.toml. The exit status is 1 if more than 3 of 100 changes survive
without an entry.
"""


def main() -> int:
    given = _parser().parse_args()
    seed = SystemRandom().randrange(10**6) if given.seed is None else given.seed
    every = [change for module in given.only or modules() for change in of_module(module)]
    sample = Random(seed).sample(every, min(given.changes, len(every)))
    sample.sort(key=lambda one: (one.module, one.start, one.after))
    print(f"mutate: {len(sample)} of {len(every)} changes, --seed {seed}", flush=True)
    outcomes: list[Outcome] = []

    def report(one: Outcome) -> None:
        outcomes.append(one)
        _show(one, f"{len(outcomes)}/{len(sample)}")

    with copied_tree() as copy:
        plan = Plan(copy, given.walks, seed, cpu_seconds=600)
        try:
            try_all(plan, sample, given.jobs, report)
        except TestsFail as error:
            print(f"mutate: the tests fail without any change: {error}")
            return 2
    survivors = [one.change for one in outcomes if one.verdict is Verdict.SURVIVED]
    return _report(survivors, Counter(one.module for one in sample))


def modules() -> list[str]:
    """Names of the modules of fleet/."""
    return sorted(one.stem for one in FLEET.glob("*.py"))


def of_module(module: str) -> list[Change]:
    return changes(module, (FLEET / f"{module}.py").read_text())


def _show(one: Outcome, done: str) -> None:
    """On standard error, which is no part of the report."""
    change = one.change
    place = f"{change.module}:{change.line}"
    text = f"{done} {place} {change.what}: {one.verdict.value} after {one.seconds:.1f} s {one.by}"
    print(text, file=sys.stderr, flush=True)


def _report(survivors: list[Change], tried_of: Counter[str]) -> int:
    entries = explained.read()
    survivors = sorted(survivors, key=lambda one: (one.module, one.start, one.after))
    known = [(one, explained.reason(one, entries)) for one in survivors]
    open_ones = [one for one, reason in known if reason is None]
    for one, reason in known:
        place = f"fleet/{one.module}.py:{one.line}"
        print(f"{place:28} {one.what}\n    {one.text}")
        if reason is not None:
            print(f"    explained: {reason}")
    survived = Counter(one.module for one in survivors)
    print(f"\n{'module':14} changes  survived")
    for module, count in sorted(tried_of.items()):
        print(f"{module:14} {count:7}  {survived[module]:8}")
    total = tried_of.total()
    print(
        f"\nmutate: {total - len(survivors)} of {total} changes noticed,"
        f" {len(survivors) - len(open_ones)} explained, {len(open_ones)} survived"
    )
    return 1 if 100 * len(open_ones) > SURVIVORS_OF_100 * total else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev mutate",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "changes", nargs="?", type=int, default=CHANGES, help="number of changes (default: 100)"
    )
    parser.add_argument("--seed", type=int, help="repeat the run with this seed (default: random)")
    parser.add_argument(
        "--only",
        metavar="MODULE",
        action="append",
        choices=modules(),
        help="change this module of fleet/; repeatable (default: all modules)",
    )
    parser.add_argument(
        "--walks", type=int, default=WALKS, help=f"random walks for each change (default: {WALKS})"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        choices=range(1, JOBS_MAX + 1),
        default=JOBS_MAX,
        help=f"changes tried at the same time (default: {JOBS_MAX})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
