"""Processes of a dead supervisor's workers, and processes that these workers left behind."""

import signal
from collections.abc import Container, Iterable, Mapping

import structlog

from wssupervisor.fleet.model import SlotId, WorkerId
from wssupervisor.runtime.handover.state_file import SavedState
from wssupervisor.runtime.kernel import descent, pidfd
from wssupervisor.runtime.kernel.procfs import environment, is_alive, parent_of, pids, start_time
from wssupervisor.runtime.listeners.holders import supervisor_lives
from wssupervisor.runtime.workers import kin
from wssupervisor.runtime.workers.kin import IDENTITY, STARTER, identity_in

log = structlog.get_logger()

Members = dict[int, int]
"""Pids, with their start times."""


def supervisors_of(saved: SavedState) -> set[str]:
    """Ids of the dead supervisors that started the saved workers."""
    workers = saved.document.supervisor.crew.workers
    found = {worker.process.identity[STARTER] for worker in workers}
    found.add(saved.supervisor)
    return {starter for starter in found if starter and not supervisor_lives(starter)}


def key(worker: WorkerId) -> tuple[str, ...]:
    """The worker's id as in its processes' environment."""
    return (str(worker.generation), str(worker.index), str(worker.incarnation))


def carriers(instance: str, supervisors: Container[str]) -> dict[tuple[str, ...], Members]:
    """Living processes of the workers that these supervisors of the instance started, by worker."""
    found: dict[tuple[str, ...], Members] = {}
    for pid in pids():
        own = identity_in(environment(pid))
        identity = dict(zip(IDENTITY, own, strict=True))
        if identity["WSSUPERVISOR_INSTANCE"] != instance:
            continue
        if identity["WSSUPERVISOR_SUPERVISOR"] not in supervisors:
            continue
        started = start_time(pid)
        if started is not None and is_alive(pid, started):
            found.setdefault(own[:3], {})[pid] = started
    return found


def root(members: Mapping[int, int]) -> int | None:
    """The process of a tree from which the others descend."""
    return min((pid for pid in members if parent_of(pid) not in members), default=None)


def end_strangers(carriers: Mapping[tuple[str, ...], Members], known: Iterable[WorkerId]) -> None:
    """End processes of workers that had ended before, which the fleet no longer knows."""
    keys = {key(one) for one in known}
    left = {
        pid: started
        for own, members in carriers.items()
        if own not in keys
        for pid, started in members.items()
    }
    if not left:
        return
    log.warning("ending processes of workers that have ended", pids=sorted(left))
    for pid, started in left.items():
        pidfd.send(pid, started, signal.SIGKILL)


def end_holders(
    slots: frozenset[SlotId], living: Mapping[WorkerId, kin.Marks], members: Container[int]
) -> None:
    """End processes without a living worker that hold a slot: they would take its next clients.

    Slots of living workers are left out: they may be shared, with a holder in that worker's tree.
    """
    slots -= frozenset[SlotId]().union(*(own.slots for own in living.values()))
    found = [
        holder
        for pid in descent.holding(slots)
        if pid not in members and (holder := kin.traits(pid))
    ]
    left = {holder.pid: holder.started for holder in found if kin.owner(holder, living) is None}
    if left:
        log.warning("ending processes that hold sockets of workers that ended", pids=sorted(left))
    for pid, started in left.items():
        pidfd.send(pid, started, signal.SIGKILL)
