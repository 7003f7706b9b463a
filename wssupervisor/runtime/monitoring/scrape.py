"""Gathers the metrics: from what is known already, and cheap looks at our own process."""

import os
import time
from collections.abc import Sequence

import psutil

from wssupervisor import __version__, metrics
from wssupervisor.runtime.observe.watch import Watch
from wssupervisor.runtime.supervisor import Supervisor


class Scrape:
    def __init__(self, supervisor: Supervisor, watch: Watch) -> None:
        self._supervisor = supervisor
        self._watch = watch
        self._self = psutil.Process()

    def text(self) -> str:
        """In Prometheus' text format."""
        return metrics.text(self._families())

    def documents(self) -> list[metrics.FamilyDocument]:
        """The same as JSON-able data."""
        return [one.document() for one in self._families()]

    def _families(self) -> Sequence[metrics.Family]:
        self._watch.freshen()
        supervisor = self._supervisor
        view = supervisor.view()
        pools = supervisor.listeners.pools
        return metrics.families(
            metrics.Seen(
                name=supervisor.config.name,
                version=__version__,
                view=view,
                ready=view.why_not_ready is None,
                listeners={
                    one.name: metrics.Listener(
                        pools[one.name].address,
                        "shared" if one.shared else "steered",
                        pools[one.name].source,
                    )
                    for one in view.listeners
                },
                counters=view.counters,
                lag=self._watch.lag,
                own=self._own(),
                now=time.monotonic(),
                wall=time.time(),
            )
        )

    def _own(self) -> metrics.Own | None:
        """Return None if nothing can be read, such as without a free descriptor."""
        try:
            open_files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a third of its cost
            return metrics.Own(self._self.memory_info().rss, time.process_time(), open_files)
        except OSError:
            return None
