"""`./dev voice [PATH ...]`: each word that rules 1 to 3 replace, with file and line.

With paths, below these alone. `--counts` prints one number per place of baseline.toml instead.
`--lower` writes the counts of now into baseline.toml where they are lower, and `--by-file` lists
them by file: do that once few are left.
"""

import argparse
from collections import Counter
from collections.abc import Mapping

from tests.voice.texts import HERE, baseline, counts, findings

BASELINE = HERE / "baseline.toml"
HEAD = """\
# How many findings of the word test each place still has. A number may only fall, and
# `./dev voice --lower` writes down that it fell. A place is a file or a directory; for each file
# the longest place counts.
"""


def written(numbers: Mapping[str, int]) -> str:
    lines = [f'"{place}" = {number}\n' for place, number in sorted(numbers.items()) if number]
    return HEAD + "".join(lines)


def lowered(by_file: bool) -> dict[str, int]:
    """The new baseline. Raises SystemExit for a place that has more than it may."""
    now, old = counts(baseline()), baseline()
    risen = {place: number for place, number in now.items() if number > old.get(place, 0)}
    if risen and old:
        raise SystemExit(f"more than before: {risen}")
    return dict(Counter(finding.file for finding in findings())) if by_file else now


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev voice")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or directories (all)")
    parser.add_argument("--counts", action="store_true", help="one number per place")
    parser.add_argument("--lower", action="store_true", help="write baseline.toml")
    parser.add_argument("--by-file", action="store_true", help="with --lower: a place is a file")
    given = parser.parse_args()
    if given.lower:
        BASELINE.write_text(written(lowered(given.by_file)))
    elif given.counts:
        for place, number in sorted(counts(baseline()).items()):
            print(f"{number:4} {place}")
    else:
        wanted = [path.rstrip("/") for path in given.paths]
        for finding in findings():
            if not wanted or any(f"{finding.file}/".startswith(f"{path}/") for path in wanted):
                print(finding)
    print(f"{len(findings())} findings in all")


if __name__ == "__main__":
    main()
