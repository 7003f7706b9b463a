"""Prints the metrics of an instance in the middle of a drain, for promtool to judge."""

import sys

from tests.unit.fleet.driven import draining
from tests.unit.test_exposition import seen
from wssupervisor.metrics import families, text

if __name__ == "__main__":
    sys.stdout.write(text(families(seen(draining(), 20))))
