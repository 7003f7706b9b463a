"""How long to wait before a worker that failed is started again."""

from wssupervisor.fleet.model import Policy


def delay(policy: Policy, failures: int) -> float:
    """Seconds before the respawn after this many failures in a row: at once after the first.

    From the second on `backoff`, doubled each time, up to `backoff_max`.
    """
    if failures <= 1:
        return 0.0
    doublings = min(failures - 2, 60)
    return min(policy.backoff * float(2**doublings), policy.backoff_max)


def stable_time(policy: Policy) -> float:
    """Seconds a worker must have been ready for its earlier failures to be forgotten."""
    return max(policy.stable, policy.backoff_max)
