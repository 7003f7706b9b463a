"""Workers that may not be inspected: what is known of them without their descriptors.

A process of another user, or one with rights that we lack, shows no descriptors (/proc/PID/fd). It
counts as neither idle nor gone. It is assumed to hold its slots, and its connections are found by
exclusion: those that no other worker holds. A worker that gets no new connections can have at most
those that the first count after its last possible arrival attributed to it.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from wssupervisor.fleet.model import SlotId, WorkerId
from wssupervisor.runtime.observe.census import Count

ADVICE = (
    "its connections are counted by exclusion, so its drain may end late. Run the worker as the"
    " supervisor's user and without capabilities of its own (the supervisor listens on ports below"
    " 1024 for it), or let the supervisor inspect it: as root, with CAP_SYS_PTRACE in"
    " CapabilityBoundingSet="
)


class Hidden:
    """What the last counts could not attribute."""

    def __init__(self) -> None:
        self._at_most: dict[WorkerId, frozenset[int]] = {}
        self.warned: set[WorkerId] = set()
        """Workers that a warning has named."""

    def judged(
        self,
        found: Count,
        slots: Mapping[WorkerId, AbstractSet[SlotId]],
        closed: AbstractSet[WorkerId],
    ) -> Count:
        """Return the count with connections and slots attributed to hidden workers.

        `slots`: what each worker was given; `closed`: workers that get no new connection.
        """
        if not found.hidden:
            self._at_most.clear()
            return found
        at_most = {
            worker: found.strays & self._at_most.get(worker, found.strays)
            for worker in found.hidden & closed
        }
        self._at_most = at_most
        rest = found.strays.difference(*at_most.values())
        counts = dict(found.by_worker)
        for worker, own in at_most.items():
            counts[worker] += len(own)
        others = sorted(found.hidden - closed)
        for at, worker in enumerate(others):  # an even split: which has which is not known
            counts[worker] += len(rest) // len(others) + (at < len(rest) % len(others))
        listening = dict(found.listening)
        for worker in found.hidden:
            listening[worker] = found.listening[worker] | slots.get(worker, frozenset())
        return replace(
            found,
            by_worker=counts,
            listening=listening,
            unattributed=0 if others else len(rest),
        )
