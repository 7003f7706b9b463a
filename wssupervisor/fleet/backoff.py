"""The pause before a failed worker is started again."""

from wssupervisor.fleet.model import Policy


def delay(policy: Policy, failures: int) -> float:
    """Return the pause in seconds after this many failures in a row; none after the first.

    From the second on `backoff`, doubled each time, up to `backoff_max`.
    """
    if failures <= 1:
        return 0.0
    doublings = min(failures - 2, 60)
    return min(policy.backoff * float(2**doublings), policy.backoff_max)


def stable_time(policy: Policy) -> float:
    """Seconds that a worker must be ready until its earlier failures are forgotten."""
    return max(policy.stable, policy.backoff_max)
