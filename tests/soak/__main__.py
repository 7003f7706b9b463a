"""./dev soak: random deploys and mishaps under load; what was lost, and what has grown."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.releases import Releases
from tests.harness.settings import Settings
from tests.soak.soak import Soak

DESCRIPTION = """\
Runs the supervisor with two clients around it: one that holds WebSockets and talks on them, one
that opens connections all the time. Meanwhile good and bad releases are deployed, cancelled and
rolled back, workers are killed, stopped and scaled, drains cut short. Nothing may be lost but what
a killed process had, and neither descriptors nor memory nor processes may grow.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description=DESCRIPTION)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--seed", type=int, help="repeats the same deeds (default: a new one)")
    parser.add_argument("--rate", type=float, default=300.0, help="new connections a second")
    parser.add_argument("--held", type=int, default=200, help="WebSockets held (default 200)")
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"soak: {given.minutes:g} minutes, --seed {seed}", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        releases = Releases(Path(directory))
        releases.install("first")
        settings = Settings(f"soak-{seed}", releases, ready_timeout="3s", max_draining=3)
        soak = Soak(settings, seed, rate=given.rate, held=given.held, say=say)
        faults = soak.run(until=begun + given.minutes * 60)
    for fault in faults:
        say(f"FAULT: {fault}")
    say("nothing was lost and nothing has grown" if not faults else f"--seed {seed} may repeat it")
    return 1 if faults else 0


def say(text: str) -> None:
    print(f"soak: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
