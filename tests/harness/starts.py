"""When the test application's workers began and could serve, by their own word."""

from pathlib import Path


def start_times(directory: Path, pid: int) -> tuple[float, float]:
    """When a worker's process began (to a clock tick, 10 ms) and when it could serve."""
    begun, serving = (directory / str(pid)).read_text().split()
    return float(begun), float(serving)
