"""What a worker reports again and again: each repetition would cost a step, and a saved state.

The first report is posted at once. Of those that follow before the next look only the last one is,
at that look: a worker that floods its supervisor keeps nothing else from being done.
"""

from wssupervisor.fleet.events import Event, LibraryConnected, SlotReleased, WorkerReady

Report = WorkerReady | LibraryConnected | SlotReleased


class Repeated:
    """Of one worker."""

    def __init__(self) -> None:
        self._posted: set[type[Report]] = set()
        self._last: dict[type[Report], Report] = {}

    def now(self, report: Report) -> Report | None:
        """The report if it is to be posted now; otherwise it waits."""
        kind = type(report)
        if kind in self._posted:
            self._last[kind] = report
            return None
        self._posted.add(kind)
        return report

    def waiting(self) -> list[Event]:
        """At a look: the reports that have waited for it."""
        found: list[Event] = list(self._last.values())
        self._posted = set(self._last)
        self._last.clear()
        return found

    def forget(self) -> None:
        """Its channel is closed: what was reported there before is over."""
        self._last.clear()
