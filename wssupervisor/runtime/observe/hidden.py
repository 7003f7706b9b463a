"""Workers that cannot be looked into: what can be known of them without their descriptors.

A process of another user, or one with rights that we lack, shows no descriptors (/proc/PID/fd). It
is neither idle nor gone. Its slots are taken to be with it, and its connections are found by
exclusion: those that no other worker holds. Of a worker that gets no new ones, they are at most
those that were there at the first count after its last one can have come.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from wssupervisor.fleet.model import SlotId, WorkerId
from wssupervisor.runtime.observe.census import Count

ADVICE = (
    "its connections are counted by exclusion, so that its drain may end late. Run the worker as"
    " the supervisor's user and without capabilities of its own (the supervisor listens on ports"
    " below 1024 for it), or let the supervisor look: as root, with CAP_SYS_PTRACE in"
    " CapabilityBoundingSet="
)


class Hidden:
    """What the last counts left over."""

    def __init__(self) -> None:
        self._at_most: dict[WorkerId, frozenset[int]] = {}
        self.told: set[WorkerId] = set()
        """Those that an operator has been told of."""

    def judged(
        self,
        found: Count,
        slots: Mapping[WorkerId, AbstractSet[SlotId]],
        closed: AbstractSet[WorkerId],
    ) -> Count:
        """The same count, with what is known of hidden workers.

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
        for at, worker in enumerate(others):  # which of them has which cannot be known
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
