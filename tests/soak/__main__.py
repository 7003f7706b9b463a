"""./dev soak: random deploys and failures under load; reports losses and growth."""

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
Run the supervisor with two clients: one holds WebSockets and sends messages on them, the other
keeps opening connections. Meanwhile deploy, cancel and roll back good and bad releases, kill, stop
and scale workers, and cut drains short. Only a killed process may lose connections, and neither
descriptors nor memory nor processes may grow.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev soak", description=DESCRIPTION)
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="duration of the run (default: 10)"
    )
    parser.add_argument(
        "--seed", type=int, help="repeat the deeds of this seed (default: a random seed)"
    )
    parser.add_argument(
        "--rate", type=float, default=300.0, help="new connections a second (default: 300)"
    )
    parser.add_argument("--held", type=int, default=200, help="held WebSockets (default: 200)")
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
    say("no losses, no growth" if not faults else f"to repeat it, try --seed {seed}")
    return 1 if faults else 0


def say(text: str) -> None:
    print(f"soak: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
