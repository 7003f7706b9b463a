"""Prints progress to standard error."""

import sys
import time

_begun = time.monotonic()


def elapsed() -> float:
    """Seconds since the benchmark began."""
    return time.monotonic() - _begun


def say(text: str) -> None:
    print(f"{elapsed():6.1f} s  {text}", file=sys.stderr, flush=True)
