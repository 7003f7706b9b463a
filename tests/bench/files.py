"""Checks the limit of open files against the number of held connections."""

import resource

SPARE = 200


def raise_limit() -> None:
    """As many open files as this process, and all that it starts, may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lacking_for(held: int, workers: int) -> str | None:
    """Why `held` connections over `workers` processes cannot be; None when they can."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = held // workers + held // 10 + SPARE  # no balance is perfect
    if limit in {-1, resource.RLIM_INFINITY} or needed <= limit:
        return None
    return f"a worker needs {needed} open files, but its limit is {limit} (ulimit -Hn)"
