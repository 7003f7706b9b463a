"""`./dev voice [PATH ...]`: each word that rules 1 to 3 replace, with file and line.

With paths, below these alone. Exit status 1 if there is any.
"""

import argparse
import sys

from tests.voice.texts import findings


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev voice")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files or directories (all)")
    wanted = [path.rstrip("/") for path in parser.parse_args().paths]
    found = [
        finding
        for finding in findings()
        if not wanted or any(f"{finding.file}/".startswith(f"{path}/") for path in wanted)
    ]
    for finding in found:
        print(finding)
    print(f"{len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
