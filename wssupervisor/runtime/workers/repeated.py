"""Merges repeated reports of a worker: each report posted costs a step and a saved state.

The first report is posted at once. Of the reports that follow before the next look, only the last
is posted, at that look. A worker that floods its supervisor cannot keep it from other work.
"""

from wssupervisor.fleet.events import Event, LibraryConnected, SlotReleased, WorkerReady

Report = WorkerReady | LibraryConnected | SlotReleased


class Repeated:
    """The repeated reports of one worker."""

    def __init__(self) -> None:
        self._posted: set[type[Report]] = set()
        self._last: dict[type[Report], Report] = {}

    def now(self, report: Report) -> Report | None:
        """Return the report if it must be posted now; otherwise keep it and return None."""
        kind = type(report)
        if kind in self._posted:
            self._last[kind] = report
            return None
        self._posted.add(kind)
        return report

    def waiting(self) -> list[Event]:
        """Return the reports that have waited for this look, and forget them."""
        found: list[Event] = list(self._last.values())
        self._posted = set(self._last)
        self._last.clear()
        return found

    def forget(self) -> None:
        """Drop the waiting reports: the channel is closed."""
        self._last.clear()
