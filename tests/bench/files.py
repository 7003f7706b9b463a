"""Checks the limit of open files against the number of held connections."""

import resource

SPARE = 200


def raise_limit() -> None:
    """Raise the limit of open files for this process and its children."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lacking_for(held: int, workers: int) -> str | None:
    """Return why `held` connections do not fit into `workers` processes; None if they do."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = held // workers + held // 10 + SPARE  # connections are never spread perfectly
    if limit in {-1, resource.RLIM_INFINITY} or needed <= limit:
        return None
    return f"a worker needs {needed} open files, but its limit is {limit} (ulimit -Hn)"
